"""The bench runs and measures; what it measures is nobody's test."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZES = ("2 KB", "100 KB", "1 MB")
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
    printed, complaints = benches["proxies"].communicate(timeout=120)

    assert benches["proxies"].returncode == 0, complaints
    for http in ("1.1", "2"):
        rows = _rows(printed, http)
        assert [row[1] for row in rows[:6]] == [s for s in SIZES for _ in range(2)], printed
        assert all(float(cell.replace(",", "")) for row in rows[:6] for cell in row[3:6])
        assert [row[1] for row in rows[6:]] == ["first byte", "between pieces"]
    assert re.search(r"Start: [\d.]+ s bare, [\d.]+ s callerid, [+-][\d.]+ s", printed), printed
    (floor,) = _rows(printed, "96 KB")
    assert all(float(cell.replace(",", "")) > 0 for cell in floor[1:]), printed
    assert re.search(r"recorded ([\d,]+) of \1 calls", printed), printed


def test_the_bench_measures_identification_as_sessions_grow(
    benches: dict[str, subprocess.Popen[str]],
) -> None:
    printed, complaints = benches["growth"].communicate(timeout=120)

    assert benches["growth"].returncode == 0, complaints
    first = ("100", "2,000", "10", "50", "as many as may be", "all silent for too long")
    for name in first:
        (row,) = _rows(printed, name)
        assert all(float(cell.replace(",", "")) > 0 for cell in row[1:]), printed


def test_the_bench_measures_what_is_stored_and_loses_nothing(
    benches: dict[str, subprocess.Popen[str]],
) -> None:
    printed, complaints = benches["storage"].communicate(timeout=120)

    assert benches["storage"].returncode == 0, complaints
    (row,) = _rows(printed, "one session of 100 turns")
    assert float(row[-1]) > 5
    assert re.search(r"Sustained: [\d,]+ calls/s for 1 s, [\d,]+ calls, none dropped", printed)


def test_a_bench_of_no_time_is_refused_in_one_line() -> None:
    bench = _bench(["--seconds", "0"])
    _, complaints = bench.communicate(timeout=30)

    assert bench.returncode == 2
    assert complaints.splitlines()[-1] == "scripts/bench: error: --seconds is a number above 0"
