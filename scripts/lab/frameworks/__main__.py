"""The command: installs, goes where no network is, plays, and prints the table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from lab.compliance import namespace
from lab.compliance.install import AT_MOST, CannotInstall
from lab.frameworks.framework import FRAMEWORKS, QUICK, Framework
from lab.frameworks.install import install, installed
from lab.frameworks.judge import judge, talks
from lab.frameworks.play import Stage, stage
from lab.frameworks.report import Row, notes, table

_QUICK_SECONDS = 120.0  # for installing one framework, where somebody waits for all the checks
_WIDTH = 130  # where the output is no terminal


def main() -> int:
    options = _options()
    chosen = _chosen(options)
    if namespace.is_inside():
        why = dict(said.split("=", 1) for said in options.missing)
        return _play(chosen, why, keeps=options.keep)
    way = namespace.way_in()
    if not way:
        print(
            "frameworks: skipped: a network namespace needs root, and the programs ip and unshare"
        )
        return 0
    seconds = _QUICK_SECONDS if options.quick else AT_MOST
    namespace.enter(way, ["-m", "lab.frameworks", *sys.argv[1:], *_install(chosen, seconds)])
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/compliance", description=__doc__)
    parser.add_argument("--frameworks", action="store_true", required=True)
    names = sorted({one.name for one in FRAMEWORKS})
    parser.add_argument("--framework", action="append", default=[], choices=names)
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--keep", action="store_true", help="keep traces and logs; say where")
    parser.add_argument("--missing", action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Framework]:
    names = [*options.framework, *(QUICK if options.quick else ())]
    return [one for one in FRAMEWORKS if not names or one.name in names]


def _install(frameworks: list[Framework], seconds: float) -> list[str]:
    """Install what is to be played; what could not be, and why, as words for `--missing`."""
    words: list[str] = []
    for framework in frameworks:
        try:
            install(framework, seconds)
        except CannotInstall as error:
            words += ["--missing", f"{framework.folder}={error}"]
    return words


def _play(frameworks: list[Framework], why: dict[str, str], *, keeps: bool) -> int:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="callerid-frameworks-"))
    began = time.monotonic()
    with stage(folder) as playing:
        played = [row for one in frameworks for row in _play_one(playing, one, why, console)]
        rows = _judged(playing, played)
    console.print(table(rows))
    for line in notes(rows):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"{sum(row.calls for row in rows)} calls, {time.monotonic() - began:.0f} s")
    if keeps:
        print(f"Traces and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0 if all(row.is_right for row in rows) else 1


def _play_one(
    playing: Stage, framework: Framework, why: dict[str, str], console: Console
) -> Iterator[Row]:
    where = installed(framework)
    console.print(f"{framework.name} {framework.version}: {', '.join(framework.scenarios)}")
    for scenario in framework.scenarios:
        if where is None:
            missing = why.get(framework.folder, "it is not installed")
            yield Row(framework, Path(scenario).stem, missing=missing)
        else:
            trouble = playing.play(framework, where, scenario)
            yield Row(framework, Path(scenario).stem, trouble=trouble)


def _judged(playing: Stage, rows: list[Row]) -> list[Row]:
    """The rows with what is wrong: all calls are judged together, one session is nobody else's."""
    heard = [one for row in rows for one in playing.heard(row.scenario)]
    mistakes = judge(heard)
    return [
        row._replace(
            calls=sum(one.label.scenario == row.scenario for one in heard),
            conversations=len(set(talks(playing.heard(row.scenario)))),
            mistakes=tuple(one for one in mistakes if one.scenario == row.scenario),
        )
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
