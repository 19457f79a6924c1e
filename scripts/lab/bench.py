"""Measures mitmproxy bare and with callerid, side by side in one run, and prints the figures.

The client, a provider that answers at once and the proxies are processes on loopback. Each
connection holds one conversation after the other, of 4 calls (2 KB) or of 20, with its whole
history in every call; nothing but what was said tells callerid whose call it is. Bare and callerid
take turns of a second or two, so that what else the machine does disturbs both; none begins before
all of the last is written to traces.db.

requests/s  how many calls pass when each connection makes the next one as soon as it has a reply
ms          from the first byte of a call to the last of its reply, or to the first of its stream

Bare mitmproxy holds event streams back to their end: there it has a script that lets them pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mitmproxy.version import VERSION
from rich.console import Console
from rich.table import Table

from lab.duel import ADDON, Duel, Pair, duel
from lab.load import Wrong, percentiles
from lab.longtalks import Shape
from lab.storage import RATE, print_storage

SHAPES = (
    Shape("2 KB", 2_000, turns=4, growth=500),
    Shape("100 KB", 100_000, turns=20, growth=2_000),
    Shape("1 MB", 1_000_000, turns=20, growth=8_000),
)
STREAMED = SHAPES[1]
CONNECTIONS = (1, 8)
ROUNDS = 3
SECONDS = 5.0  # of each load and proxy: two minutes in all
QUICK_SECONDS = 0.15
SESSIONS = (1_000, 10_000, 100_000)
QUICK_SESSIONS = (1_000, 5_000)


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if options.seconds <= 0:
        parser.error("--seconds is a number above 0")
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    try:
        if options.storage:
            print_storage(console, options.minutes, is_quick=options.quick)
            console.print(_machine())
        elif options.growth:
            _print_growth(QUICK_SESSIONS if options.quick else SESSIONS, console)
        else:
            seconds, rounds = (QUICK_SECONDS, 1) if options.quick else (options.seconds, ROUNDS)
            asyncio.run(_print_duel(seconds, rounds, console))
    except Wrong as wrong:
        print(f"scripts/bench: {wrong}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="It fails where a reply is not 200 OK, where callerid loses a record without saying "
        "so,\nor where it does not take each conversation for one session. It never fails for "
        "being slow.",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"how long each proxy is measured under each of the seven loads (default {SECONDS})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_SECONDS} seconds each, to see that it works; the figures mean little",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="measure instead, without a proxy, what a call costs and what a session holds in "
        f"memory when there are {_list(SESSIONS)} sessions (with --quick: "
        f"{_list(QUICK_SESSIONS)}); takes about three minutes",
    )
    parser.add_argument(
        "--storage",
        action="store_true",
        help="measure instead what traces.db takes, against the same calls as JSON lines: of one "
        "session that grows for 400 turns, and of 1,000 recorded ones; takes about a minute",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=0,
        help=f"with --storage: then give the writer {RATE:,} calls a second for so long",
    )
    return parser


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


async def _print_duel(seconds: float, rounds: int, console: Console) -> None:
    with duel(seconds, rounds) as both:
        with console.status("measuring"):
            whole = await _whole_replies(both)
            stream = await _streams(both)
        verdict = both.verdict()
        console.print(whole)
        console.print(stream)
        console.print(
            f"callerid {verdict}; its writer was at most {both.ledger.behind:.1f} s behind."
        )
        console.print(_machine())


async def _whole_replies(both: Duel) -> Table:
    table = Table(title="Whole replies", title_justify="left")
    for name in ("body", "connections", "requests/s\nbare", "\ncallerid", "\nratio", *_headings()):
        table.add_column(name, justify="right")
    for shape in SHAPES:
        for connections in CONNECTIONS:
            pair = await both.fight(shape, connections)
            rates = pair.bare.rate, pair.ours.rate
            words = f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", f"{rates[1] / rates[0]:.2f}"
            times = _times(pair, "last")
            table.add_row(shape.name, str(connections), *words, *times, end_section=connections > 1)
    return table


async def _streams(both: Duel) -> Table:
    table = Table(title="Event streams: time to first byte", title_justify="left")
    for name in ("body", "connections", *_headings()):
        table.add_column(name, justify="right")
    pair = await both.fight(STREAMED, 1, streams=True)
    table.add_row(STREAMED.name, "1", *_times(pair, "first"))
    return table


def _headings() -> Iterator[str]:
    for name in ("p50", "p99"):
        yield from (f"{name} ms\nbare", "\ncallerid", "\nmore")


def _times(pair: Pair, end: str) -> Iterator[str]:
    bare, ours = (percentiles([getattr(t, end) * 1000 for t in side.took]) for side in pair)
    for one, other in zip(bare, ours, strict=True):
        yield from (f"{one:.2f}", f"{other:.2f}", f"{other - one:+.2f}")


def _print_growth(sizes: tuple[int, ...], console: Console) -> None:
    table = Table(
        title="Identification alone, calls of 2 KB with their replies", title_justify="left"
    )
    for name in (
        "sessions", "continuing call\np50 µs", "\np99 µs", "new session\np50 µs", "\np99 µs",
        "memory\nbytes/session",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    with console.status("measuring"):
        for sessions in sizes:
            table.add_row(*(f"{figure:,.0f}" for figure in _growth(sessions)))
    console.print(table)
    console.print(_machine())


def _growth(sessions: int) -> list[float]:
    command = [sys.executable, "-m", "lab.growth", str(sessions)]
    path = os.pathsep.join(filter(None, [str(ADDON.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": path},  # what the proxies load
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Wrong(f"growth to {sessions:,} sessions failed: {done.stderr.splitlines()[-1:]}")
    return list(json.loads(done.stdout).values())


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, mitmproxy {VERSION}. "
        "Only ratios count: times are those of this machine at this moment."
    )


if __name__ == "__main__":
    sys.exit(main())
