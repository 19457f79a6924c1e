"""Holds many streams open at once, through mitmproxy bare and with callerid, one after the other.

Each client asks for a stream of its own and gets its first event; when all have theirs, all are
told the rest at once. It prints, for each side:

begun      seconds until the last of them had its first event, and of how many a second that is
first byte milliseconds from a request to its first event (of clients that ask a few at a time)
ended      seconds from there until the last of them had all
memory     of the proxy and what it has started, with all streams open (resident, MB), and handles

It fails where a stream does not come whole, is not on record as such, or is not in a session of
its own, the one that its client was told.

Over HTTP/1.1 the proxy holds two sockets a stream: what one process may open here (ulimit -Hn)
bounds how many there can be.

With --http2 all is HTTP/2 in TLS, to the proxy and from it, with 100 streams on a connection: two
sockets for a hundred. There cannot be more: mitmproxy (11 and 12) allows its clients 100 at once on
a connection. For each of them it makes one connection to the upstream, no second; where an upstream
allows fewer, the other streams wait in mitmproxy until one has ended. Ours allows 100, too.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from lab.askers import Apart, Asker, Begun, Together
from lab.certificates import certificates
from lab.duel import ADDON, QUIET, STREAMS
from lab.holding import rest, upstream
from lab.load import Wrong, percentiles
from lab.proxy import Proxy
from lab.soak import held_by

COUNT = 10_000
AT_ONCE = 50  # clients that wait for their first event; more would wait in the kernel's queue
OF_OUR_OWN = 300  # handles of the proxy beside its streams
PATIENCE_SECONDS = 900.0
NEWS_SECONDS = 60.0  # without any stream that goes on, something is wrong
STILL_SECONDS = 20.0
WIDTH = 110  # of the table


class Crowd(NamedTuple):
    """What was seen of some streams through one proxy; times in seconds."""

    begun: float
    first: list[float]
    ended: float
    memory: int
    handles: int
    sessions: dict[str, str]  # what callerid told each stream, by the id of its reply


def _allow_handles() -> int:
    """Have as many handles as this process may; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_streams() -> int:
    """How many streams the machine lets one proxy hold; this process may open as many from now."""
    return (_allow_handles() - OF_OUR_OWN) // 2


async def hold(count: int, proxy: Proxy, *, http2: bool = False) -> Crowd:
    """Hold so many streams open at once; raises Wrong."""
    with upstream(certificates() if http2 else None) as (port, go_on):
        ports = proxy.port, port
        asker: Asker = Together(*ports, proxy.ca_file) if http2 else Apart(*ports)
        everybody = _Everybody(count)
        few = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with few:
                begun = await asker.begin(number)
                everybody.one_more(number, begun)
            if await begun.stream.rest() != rest(b"%d" % number):
                raise Wrong(f"stream {number} did not come whole")

        asked = asyncio.gather(*(one(number) for number in range(count)))
        try:
            begun = await everybody.all_begun(asked)
            held = held_by(proxy)
            go_on()
            began = time.monotonic()
            await asyncio.wait_for(asked, PATIENCE_SECONDS)
            ended = time.monotonic() - began
        except TimeoutError:
            raise Wrong(f"a stream did not end within {PATIENCE_SECONDS:.0f} s") from None
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await asker.close()
    return Crowd(begun, everybody.first, ended, held.memory, held.handles, everybody.sessions)


class _Everybody:
    """Counts the streams that have begun; raises Wrong where none does for long."""

    def __init__(self, count: int) -> None:
        self.first: list[float] = []
        self.sessions: dict[str, str] = {}
        self._count = count
        self._began = time.monotonic()

    def one_more(self, number: int, begun: Begun) -> None:
        self.first.append(begun.first)
        self.sessions[str(number)] = begun.session

    async def all_begun(self, asked: asyncio.Future[list[None]]) -> float:
        """How long it took until all had begun; raises what went wrong with one that `asked`."""
        seen, news = 0, time.monotonic()
        while len(self.first) < self._count:
            await asyncio.sleep(0.02)
            if asked.done():
                await asked
            if len(self.first) > seen:
                seen, news = len(self.first), time.monotonic()
            if time.monotonic() - news > NEWS_SECONDS:
                raise Wrong(f"{seen:,} streams began, and then none for {NEWS_SECONDS:.0f} s")
        return time.monotonic() - self._began


def check_record(traces: Path, told: dict[str, str]) -> None:
    """Wait until all streams are on record; raises Wrong where not each is, whole and by itself.

    `told` has the session that each client was told.
    """
    if (states := _recorded(traces, len(told))) != {"ok": len(told)}:
        raise Wrong(f"on record are {states}, and not {len(told):,} ok")
    with closing(_opened(traces)) as database:
        sessions = dict(database.execute("select response_id, session_id from calls").fetchall())
    if other := sum(sessions.get(number) != session for number, session in told.items()):
        raise Wrong(f"{other:,} streams are on record in another session than their client heard")
    if (count := len(set(sessions.values()))) != len(told):
        raise Wrong(f"{len(told):,} conversations are {count:,} sessions")


def _recorded(traces: Path, count: int) -> dict[str, int]:
    """The states of the calls on record, when all have ended or nothing more comes."""
    states: dict[str, int] = {}
    news = time.monotonic()
    while time.monotonic() - news < STILL_SECONDS:
        with closing(_opened(traces)) as database:
            found = database.execute("select state, count(*) from calls group by state")
            now = dict(found.fetchall())
        if now != states:
            states, news = now, time.monotonic()
        if states == {"ok": count}:
            break
        time.sleep(0.1)
    return states


def _opened(traces: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{traces.as_uri()}?mode=ro", uri=True)


def through(script: Path, count: int, *, http2: bool = False) -> Crowd:
    """So many streams through a proxy with a script; raises Wrong."""
    with Proxy(script, options=QUIET) as proxy:
        crowd = asyncio.run(hold(count, proxy, http2=http2))
        if script == ADDON:
            check_record(proxy.traces, crowd.sessions)
    return crowd


def table(title: str, sides: dict[str, Crowd]) -> Table:
    """What was seen, side by side."""
    made = Table("", "begun s", "a second", "first byte p50 ms", "p99 ms", "ended s",
                 "memory MB", "handles", title=title)  # fmt: skip
    for name, crowd in sides.items():
        p50, p99 = percentiles(crowd.first)
        made.add_row(
            name, f"{crowd.begun:.1f}", f"{len(crowd.first) / crowd.begun:,.0f}",
            f"{1000 * p50:.0f}", f"{1000 * p99:.0f}", f"{crowd.ended:.1f}",
            f"{crowd.memory / 1e6:.0f}", f"{crowd.handles:,}",
        )  # fmt: skip
    return made


def main() -> int:
    options = _options()
    count, http = options.count, "HTTP/2" if options.http2 else "HTTP/1.1"
    if not options.http2 and (count := min(count, most_streams())) < options.count:
        print(f"scripts/streams: {count:,} streams, not {options.count:,}: one process may open no "
              "more here (ulimit -Hn)", file=sys.stderr)  # fmt: skip
    try:
        sides = {
            name: through(script, count, http2=options.http2)
            for name, script in (("bare", STREAMS), ("with callerid", ADDON))
        }
    except (Wrong, RuntimeError) as wrong:
        print(f"scripts/streams: {wrong}", file=sys.stderr)
        return 1
    Console(width=WIDTH).print(table(f"{count:,} streams at once, {http}", sides))
    print(f"All {count:,} came whole on both sides, and are on record as such, each in a session "
          "of its own.")  # fmt: skip
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/streams", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=COUNT, metavar="N",
                        help=f"so many (default {COUNT:,})")  # fmt: skip
    parser.add_argument("--http2", action="store_true",
                        help="over HTTP/2 in TLS, many on a connection")  # fmt: skip
    options = parser.parse_args()
    if options.count < 2:
        parser.error("--count is at least 2")
    return options


if __name__ == "__main__":
    sys.exit(main())
