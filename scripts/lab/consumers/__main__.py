"""The command: installs, goes where no network is, plays, and prints the table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab.compliance import namespace
from lab.compliance.install import AT_MOST, CannotInstall
from lab.consumers import dynamo, litellm, phoenix
from lab.consumers.consumer import DYNAMO, LITELLM, PHOENIX, Consumer
from lab.consumers.install import install, programs
from lab.consumers.judge import Verdict, judge
from lab.consumers.report import notes, table

_PLAYS = {DYNAMO: dynamo.play, LITELLM: litellm.play, PHOENIX: phoenix.play}
_QUICK_SECONDS = 120.0  # for installing one consumer, where somebody waits for all the checks
_WIDTH = 130  # where the output is no terminal


def main() -> int:
    options = _options()
    consumers = [one for one in _PLAYS if options.consumer in ("", one.name)]
    if namespace.is_inside():
        return _play([one for one in consumers if programs(one)], keeps=options.keep)
    way = namespace.way_in()
    if not way:
        print("consumers: skipped: a network namespace needs root, and the programs ip and unshare")
        return 0
    there = [one for one in consumers if _is_installed(one, is_quick=options.quick)]
    if there:
        namespace.enter(way, ["-m", "lab.consumers", *sys.argv[1:]])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/compliance", description=__doc__)
    parser.add_argument("--consumers", action="store_true", required=True)
    names = sorted(one.name for one in _PLAYS)
    parser.add_argument("--consumer", default="", choices=names, help="only this one")
    parser.add_argument("--quick", action="store_true", help="two minutes to install one, no more")
    parser.add_argument("--keep", action="store_true", help="keep traces and logs; say where")
    return parser.parse_args()


def _is_installed(consumer: Consumer, *, is_quick: bool) -> bool:
    """Whether a consumer is there, installed now if need be; says so where it cannot be."""
    try:
        install(consumer, _QUICK_SECONDS if is_quick else AT_MOST)
    except CannotInstall as error:
        print(f"consumers: skipped: {error}", flush=True)
        return False
    return True


def _play(consumers: list[Consumer], *, keeps: bool) -> int:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="callerid-consumers-"))
    verdicts: list[Verdict] = []
    for consumer in consumers:
        place = folder / consumer.name
        place.mkdir()
        verdicts += map(judge, _PLAYS[consumer](install(consumer), place))
    console.print(table(verdicts))
    for line in notes(verdicts):
        console.print(line, soft_wrap=True, markup=False)
    if keeps:
        print(f"Traces and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if any(verdict.mistakes for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
