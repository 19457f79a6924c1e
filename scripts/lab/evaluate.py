"""Measures identification against recorded conversations whose truth is known."""

from __future__ import annotations

import cProfile
import datetime
import json
import platform
import pstats
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from callerid.commands.identify_command import answer
from callerid.recordings import calls
from callerid.recordings.recorded import RecordedCall
from callerid.recordings.reidentify import Identified, reidentify
from callerid.settings.load import load

PARTS = ("corpora/sessions.jsonl.xz", "captures", "eval/score.py", "eval/perturb.py",
         "eval/from_captures.py")  # fmt: skip
COLUMNS = ("calls", "conversations", "sessions", "F", "exact", "agent_F", "parent", "false_parent")
PROFILED_LINES = 10


def main(folder: Path) -> int:
    missing = [part for part in PARTS if not (folder / part).exists()]
    if missing:
        print(f"scripts/eval: {folder} has no {', '.join(missing)}: nothing to measure with")
        return 1
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as temporary:
        _measure(folder.resolve(), Path(temporary), console)
    return 0


def _measure(folder: Path, temporary: Path, console: Console) -> None:
    table = Table(title=f"{datetime.date.today()}, Python {platform.python_version()}")
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    corpus = folder / "corpora/sessions.jsonl.xz"
    found = _read(corpus)
    began = time.perf_counter()
    identified, spent = _identify(found)
    seconds = time.perf_counter() - began
    scores = _score(folder, corpus, identified, temporary, "source")
    _add(table, "corpus", scores["ALL"])
    for name, row in scores.items():
        if name != "ALL":
            _add(
                table, "  " + name.replace("MACRO (mean of the rows above)", "mean of sources"), row
            )
    perturbed = temporary / "perturbed.jsonl.gz"
    _run(folder / "eval/perturb.py", corpus, perturbed)
    scores = _score(folder, perturbed, _identify(_read(perturbed))[0], temporary, "family")
    _add(table, "perturbed, all families", scores["ALL"])
    for name, row in scores.items():
        if not name.startswith(("ALL", "MACRO")):
            _add(table, "  " + name, row)
    for words, options in (("captures with ids", []), ("captures without ids", ["--no-ids"])):
        captured = temporary / "captured.jsonl"
        _run(folder / "eval/from_captures.py", captured, *sorted(folder.glob("captures/*.gz")),
             *options)  # fmt: skip
        identified_calls = _identify(_read(captured))[0]
        kinds = _kinds_right(captured, identified_calls)
        main_truth, main_answers = _main_only(captured, identified_calls, temporary)
        row = _score(folder, main_truth, main_answers, temporary, "source")["ALL"]
        _add(table, f"{words} (kind right: {kinds:.3f})", row)
    console.print(table)
    console.print(f"identify: {len(found) / seconds:,.0f} calls/s on the corpus")
    _profile(found, spent, corpus, console)


def _read(path: Path) -> list[RecordedCall]:
    lines = calls.read(path, lambda file: iter(()))
    return [line.call for line in lines if line.call is not None]


def _identify(found: list[RecordedCall]) -> tuple[list[Identified], dict[str, float]]:
    identified: list[Identified] = []
    spent: dict[str, float] = {}
    before = time.perf_counter()
    for each in reidentify(found, load()):
        now = time.perf_counter()
        identified.append(each)
        spent[each.call.id], before = now - before, now
    return identified, spent


def _score(
    folder: Path, truth: Path, identified: Iterable[Identified], temporary: Path, by: str
) -> dict[str, dict[str, Any]]:
    answers = temporary / "answers.jsonl"
    ordered = sorted(identified, key=lambda each: each.call.t)
    lines = []
    for each in ordered:
        said = answer(each)
        if each.call.id.isdigit():
            del said["id"]  # the truth has no ids: the order counts
        lines.append(json.dumps(said | {"session_id": said["session_id"] or each.call.id}))
    answers.write_text("\n".join(lines))
    out = _run(folder / "eval/score.py", truth, answers, "--json", "--by", by)
    return dict(json.loads(out))


def _main_only(
    truth: Path, identified: list[Identified], temporary: Path
) -> tuple[Path, list[Identified]]:
    lines = [line for line in truth.read_text().splitlines() if json.loads(line)["kind"] == "main"]
    kept = temporary / "main.jsonl"
    kept.write_text("\n".join(lines))
    ids = {json.loads(line)["id"] for line in lines}
    return kept, [each for each in identified if each.call.id in ids]


def _kinds_right(truth: Path, identified: list[Identified]) -> float:
    said = {each.call.id: each.identity.kind if each.identity else "" for each in identified}
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    return sum(said[line["id"]] == line["kind"] for line in lines) / len(lines)


def _add(table: Table, name: str, row: dict[str, Any]) -> None:
    cells = [row.get(column) for column in COLUMNS]
    table.add_row(name, *(_cell(cell) for cell in cells))


def _cell(value: Any) -> str:
    if value is None or (value == 0 and isinstance(value, int)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _profile(
    found: list[RecordedCall], spent: dict[str, float], corpus: Path, console: Console
) -> None:
    """Say where the time goes in the slowest source of the corpus."""
    sources: dict[str, list[RecordedCall]] = defaultdict(list)
    import lzma

    with lzma.open(corpus, "rt") as file:
        for call, line in zip(found, file, strict=True):
            sources[json.loads(line)["source"].partition(":")[0]].append(call)
    times = Counter(
        {name: sum(spent[c.id] for c in some) / len(some) for name, some in sources.items()}
    )
    (name, slowest), *_ = times.most_common(1)
    console.print(f"slowest source: {name}, {slowest * 1000:.2f} ms a call; where it goes:")
    profile = cProfile.Profile()
    profile.runcall(lambda: list(reidentify(sources[name], load())))
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(row[2] for row in stats.values())
    for (file, _, function), row in sorted(stats.items(), key=lambda item: -item[1][2])[
        :PROFILED_LINES
    ]:
        console.print(f"  {row[2] / total:6.1%}  {Path(file).name}:{function}", highlight=False)


def _run(script: Path, *words: object) -> str:
    command = [sys.executable, str(script), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
