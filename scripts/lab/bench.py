"""Measures mitmproxy bare and with callerid, side by side in one run, and prints the figures.

The client, a provider that answers at once and the proxies are processes on loopback. Each
connection holds one conversation after the other, of 4 calls (2 KB) or of 20, with its whole
history in every call; nothing but what was said tells callerid whose call it is. Bare and callerid
take turns of a second or two, so that what else the machine does disturbs both; none begins before
all of the last is written to traces.db.

requests/s  how many calls pass when each connection makes the next one as soon as it has a reply
ms          from the first byte of a call to the last of its reply, or to the first of its stream
stall       the longest time that the proxy's loop stood still, by a heartbeat in it, in ms

HTTP/2 is in TLS, on both sides of the proxy's tunnel as far as the provider speaks it. Bare
mitmproxy holds event streams back to their end: there it has a script that lets them pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mitmproxy.version import VERSION
from rich.console import Console
from rich.table import Table

from lab import floor, peers, startup
from lab.duel import ADDON, Duel, Pair, duel
from lab.load import Took, Wrong, percentiles
from lab.longtalks import Shape
from lab.storage import RATE, print_storage

SHAPES = (
    Shape("2 KB", 2_000, turns=4, growth=500),
    Shape("100 KB", 100_000, turns=20, growth=2_000),
    Shape("1 MB", 1_000_000, turns=20, growth=8_000),
)
STREAMED = SHAPES[1]
CONNECTIONS = (1, 16)
ROUNDS = 3
SECONDS = 5.0  # of each load and proxy: four minutes in all
QUICK_SECONDS = 0.15
SESSIONS = (100, 10_000, 1_000_000)
QUICK_SESSIONS = (100, 2_000)
TURNS = (10, 100, 500, 2_000)
QUICK_TURNS = (10, 50)
PRESSED = 50_000  # sessions that are known where newcomers come; the default's most
QUICK_PRESSED = 1_000
FLOORS = (500, 5_000)  # bytes a turn of a conversation of 400 messages


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
            _print_growth(console, is_quick=options.quick)
        elif options.peers:
            seconds, rounds = (1.0, 1) if options.quick else (options.seconds, ROUNDS)
            asyncio.run(_print_peers(seconds, rounds, console))
        else:
            asyncio.run(_print_duel(options.seconds, console, is_quick=options.quick))
            _print_floor(console, is_quick=options.quick)
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
        help=f"how long each proxy is measured under each of the 14 loads (default {SECONDS})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_SECONDS} seconds each, to see that it works; the figures mean little",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="measure instead, without a proxy, what a call costs and what is held in memory as "
        f"sessions grow in number (to {SESSIONS[-1]:,}) and in length (to {TURNS[-1]:,} turns), "
        "and while sessions are forgotten; takes about half an hour",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="measure instead callerid beside other gateways that track sessions, which are "
        "installed from PyPI, each by itself; takes about five minutes",
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


async def _print_duel(seconds: float, console: Console, *, is_quick: bool) -> None:
    seconds, rounds = (QUICK_SECONDS, 1) if is_quick else (seconds, ROUNDS)
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
    with console.status("measuring"):
        start = startup.measure(1 if is_quick else startup.ROUNDS)
    more = start.ours - start.bare
    console.print(f"Start: {start.bare:.2f} s bare, {start.ours:.2f} s callerid, {more:+.2f} s.")
    console.print(_machine())


async def _whole_replies(both: Duel) -> Table:
    table = Table(title="Whole replies", title_justify="left")
    for name in (
        "HTTP", "body", "connec-\ntions", "requests/s\nbare", "\ncallerid", "\nratio", *_headings(),
        "stall ms\nbare", "\ncallerid",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for http2 in (False, True):
        for shape in SHAPES:
            for connections in CONNECTIONS:
                pair = await both.fight(shape, connections, http2=http2)
                rates = pair.bare.rate, pair.ours.rate
                words = f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", f"{rates[1] / rates[0]:.2f}"
                stalls = (f"{1000 * stall:.0f}" for stall in both.longest[-1])
                is_last = connections > 1
                table.add_row("2" if http2 else "1.1", shape.name, str(connections), *words,
                              *_times(pair, _last), *stalls, end_section=is_last)  # fmt: skip
    return table


async def _streams(both: Duel) -> Table:
    table = Table(title=f"Event streams, bodies of {STREAMED.name}", title_justify="left")
    for name in ("HTTP", "", *_headings()):
        table.add_column(name, justify="right")
    for http2 in (False, True):
        pair = await both.fight(STREAMED, 1, streams=True, http2=http2)
        name = "2" if http2 else "1.1"
        table.add_row(name, "first byte", *_times(pair, _first))
        table.add_row(name, "between pieces", *_times(pair, _gaps), end_section=True)
    return table


def _headings() -> Iterator[str]:
    for name in ("p50", "p99"):
        yield from (f"{name} ms\nbare", "\ncallerid", "\nmore")


def _times(pair: Pair, seconds: Callable[[Took], Iterable[float]]) -> Iterator[str]:
    bare, ours = (
        percentiles([1000 * each for took in side.took for each in seconds(took)]) for side in pair
    )
    for one, other in zip(bare, ours, strict=True):
        yield from (f"{one:.2f}", f"{other:.2f}", f"{other - one:+.2f}")


def _first(took: Took) -> Iterable[float]:
    return (took.first,)


def _last(took: Took) -> Iterable[float]:
    return (took.last,)


def _gaps(took: Took) -> Iterable[float]:
    return took.gaps


def _print_floor(console: Console, *, is_quick: bool) -> None:
    table = Table(
        title="Within callerid: a history of 400 messages, of which the newest turn is new",
        title_justify="left",
    )
    for name in (
        "body", "floor µs:\njson.loads, blake2b", "request\nµs", "of the\nfloor", "reply\nµs",
        "parse\nµs", "identify\nµs", "stamp\nµs",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for growth in FLOORS[:1] if is_quick else FLOORS:
        found = floor.measure(growth)
        stages = (f"{found.stages[name]:,.0f}" for name in floor.STAGES)
        table.add_row(
            f"{found.body_bytes / 1000:,.0f} KB", f"{found.loads:,.0f}", f"{found.request:,.0f}",
            f"{found.request / found.loads:.2f}", f"{found.reply:,.0f}", *stages,
        )  # fmt: skip
    console.print(table)


async def _print_peers(seconds: float, rounds: int, console: Console) -> None:
    rows, missing = await peers.measure(seconds, rounds)
    console.print(peers.table(rows))
    for reason in missing:
        console.print(f"not measured: {reason}")
    console.print(_machine())


def _print_growth(console: Console, *, is_quick: bool) -> None:
    many = Table(title="Sessions: calls of 2 KB with their replies", title_justify="left")
    for name in (
        "sessions", "continuing call\np50 µs", "\np99 µs", "new session\np50 µs", "\np99 µs",
        "memory\nbytes/session", "a look for\ngarbage, ms",
    ):  # fmt: skip
        many.add_column(name, justify="right")
    long = Table(title="One session, whose history comes whole each time", title_justify="left")
    for name in ("turns", "first tenth\np50 µs", "last tenth\np50 µs", "bytes/message"):
        long.add_column(name, justify="right")
    pressed = Table(title="New sessions while others are forgotten", title_justify="left")
    for name in ("", "sessions", "p50 µs", "p99 µs", "most µs"):
        pressed.add_column(name, justify="right" if name else "left")
    held = QUICK_PRESSED if is_quick else PRESSED
    with console.status("measuring"):
        for sessions in QUICK_SESSIONS if is_quick else SESSIONS:
            many.add_row(*_growth("sessions", sessions))
        for turns in QUICK_TURNS if is_quick else TURNS:
            long.add_row(*_growth("turns", turns))
        pressed.add_row("as many as may be", *_growth("full", held))
        pressed.add_row("all silent for too long", *_growth("expiry", held))
    for table in (many, long, pressed):
        console.print(table)
    console.print(_machine())


def _growth(what: str, size: int) -> list[str]:
    command = [sys.executable, "-m", "lab.growth", what, str(size)]
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
        raise Wrong(f"{what} of {size:,} failed: {done.stderr.splitlines()[-1:]}")
    figures = json.loads(done.stdout).values()
    return [f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}" for figure in figures]


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, mitmproxy {VERSION}. "
        "Only ratios count: times are those of this machine at this moment."
    )


if __name__ == "__main__":
    sys.exit(main())
