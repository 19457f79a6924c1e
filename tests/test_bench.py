"""The bench runs and measures; what it measures is nobody's test."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All modes, side by side: that spoils the figures, and nothing else."""
    modes = {
        "proxies": ["--quick"],
        "growth": ["--growth", "--quick"],
        "storage": ["--storage", "--quick", "--minutes", "0.02"],
    }
    running = {name: _bench(options) for name, options in modes.items()}
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


def _bench(options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lab.bench", *options]
    return subprocess.Popen(
        command, cwd=SCRIPTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _rows(table: str, first: str) -> list[list[str]]:
    """The cells of the rows that begin with a cell."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    return [row for row in rows if row and row[0] == first]


def test_the_bench_measures_each_load_on_both_proxies_and_finds_all_of_it_recorded(
    benches: dict[str, subprocess.Popen[str]],
) -> None:
    printed, complaints = benches["proxies"].communicate(timeout=60)

    assert benches["proxies"].returncode == 0, complaints
    for size, loads in {"2 KB": 2, "100 KB": 3, "1 MB": 2}.items():  # 100 KB also for the stream
        assert len(_rows(printed, size)) == loads, printed
        assert all(float(cell.replace(",", "")) for cell in _rows(printed, size)[0][1:5])
    assert re.search(r"recorded ([\d,]+) of \1 calls", printed), printed


def test_the_bench_measures_identification_as_sessions_grow(
    benches: dict[str, subprocess.Popen[str]],
) -> None:
    printed, complaints = benches["growth"].communicate(timeout=60)

    assert benches["growth"].returncode == 0, complaints
    for sessions in ("1,000", "5,000"):
        (row,) = _rows(printed, sessions)
        assert all(float(cell.replace(",", "")) > 0 for cell in row[1:]), printed


def test_the_bench_measures_what_is_stored_and_loses_nothing(
    benches: dict[str, subprocess.Popen[str]],
) -> None:
    printed, complaints = benches["storage"].communicate(timeout=60)

    assert benches["storage"].returncode == 0, complaints
    (row,) = _rows(printed, "one session of 100 turns")
    assert float(row[-1]) > 5
    assert re.search(r"Sustained: [\d,]+ calls/s for 1 s, [\d,]+ calls, none dropped", printed)


def test_a_bench_of_no_time_is_refused_in_one_line() -> None:
    bench = _bench(["--seconds", "0"])
    _, complaints = bench.communicate(timeout=30)

    assert bench.returncode == 2
    assert complaints.splitlines()[-1] == "scripts/bench: error: --seconds is a number above 0"
