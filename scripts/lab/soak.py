"""Holds traffic through one proxy for long, and prints what the proxy holds meanwhile.

Agents at work on loopback: conversations of 20 calls, each with its whole history; replies whole
and in events; and clients that hang up when a reply has begun. A line each twentieth of the way:

calls/s, ms   since the line before; from the first byte of a call to the last of its reply
memory        of the proxy and the processes that it has started (resident, MB)
handles       files and sockets that they have open

It fails where a reply is not 200 OK, where a call that was made is not on record as it ended, and
where a conversation is not one session. Sessions are forgotten after 30 seconds of silence, so that
minutes show what hours come to. It needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from lab.canned import CannedProvider
from lab.duel import ADDON, QUIET
from lab.family import family, resident_bytes
from lab.ledger import conversations
from lab.load import Connection, Wrong, percentiles
from lab.longtalks import Shape
from lab.looker import Looker
from lab.proxy import Proxy

CALLS = 20_000
BODY = 100_000  # bytes, on average
TURNS = 20
LINES = 20
POLL_SECONDS = 0.1
STILL_SECONDS = 5.0  # nothing new on record for so long: nothing more is coming
WEB = {"web_open_browser": "false", "web_port": "0"}
CONFIG = "admin: {port: 0}\nsession: {session_ttl_seconds: 30}\n"
_STATES = "select state, count(*) from calls group by state"


class Leaver(Connection):
    """Hangs up when a reply has begun, and comes back with something else."""

    async def _read_chunks(self) -> list[float]:
        first = time.perf_counter()
        await self._reader.readline()
        self._writer.close()
        await self.open()
        self._now = iter(())
        return [first]


class Held(NamedTuple):
    """What the proxy's processes hold: bytes of memory, open files, bytes of traces.db."""

    memory: int
    handles: int
    traces: int


class Plan(NamedTuple):
    """So many calls, or so many seconds; the other is 0."""

    calls: int
    seconds: float

    def share(self, calls: int, seconds: float) -> float:
        """How much of it is done, from 0 to 1."""
        return calls / self.calls if self.calls else seconds / self.seconds


class Soak:
    """The traffic, and what is seen of it."""

    def __init__(
        self, plan: Plan, proxy: Proxy, provider: CannedProvider, body: int, rest: float
    ) -> None:
        shape = Shape("soak", body, TURNS, max(400, body // 50))
        ports = proxy.port, provider.port
        self._whole = [Connection(*ports, shape, streams=False) for _ in range(4)]
        self._streams = [Connection(*ports, shape, streams=True) for _ in range(4)]
        self._leavers = [Leaver(*ports, shape, streams=True)]
        self._plan = plan
        self._rest = rest
        self._proxy = proxy
        self._took: list[float] = []
        self._all_took: list[float] = []
        self._began = time.monotonic()
        self.held: list[Held] = []

    @property
    def _all(self) -> list[Connection]:
        return [*self._whole, *self._streams, *self._leavers]

    @property
    def calls(self) -> int:
        """How many calls were made."""
        return sum(each.calls for each in self._all)

    async def run(self) -> None:
        """Let all talk until the plan is done; raises Wrong."""
        for each in self._all:
            await each.open()
        print(" minutes     calls  calls/s   p50 ms   p99 ms  memory MB  handles  traces.db MB")
        talks = asyncio.gather(*(self._talk(each) for each in self._all))
        watching = asyncio.ensure_future(self._watch())
        try:
            await talks
        finally:
            watching.cancel()
        self._print(self.calls, time.monotonic() - self._began)
        for each in self._all:
            await each.close()

    @property
    def _done(self) -> float:
        return self._plan.share(self.calls, time.monotonic() - self._began)

    async def _talk(self, connection: Connection) -> None:
        while self._done < 1:
            took = await connection.ask(connection.next())
            if not isinstance(connection, Leaver):
                self._took.append(took.last)
            if self._rest:
                await asyncio.sleep(self._rest)

    async def _watch(self) -> None:
        calls, at = 0, self._began
        for line in range(1, LINES):
            while self._done < line / LINES:
                await asyncio.sleep(POLL_SECONDS)
            now, made = time.monotonic(), self.calls
            self._print(made - calls, now - at)
            calls, at = made, now

    def _print(self, calls: int, seconds: float) -> None:
        took, self._took = self._took, []
        self._all_took += took
        p50, p99 = _milliseconds(took)
        held = held_by(self._proxy)
        self.held.append(held)
        print(
            f"{(time.monotonic() - self._began) / 60:8.1f}{self.calls:10,}{calls / seconds:9,.0f}"
            f"{p50:9.1f}{p99:9.1f}{held.memory / 1e6:11.0f}{held.handles:9}"
            f"{held.traces / 1e6:14.0f}", flush=True,
        )  # fmt: skip

    def verdict(self, log: Callable[[], str]) -> str:
        """Whether all is on record, and each conversation one session; raises Wrong."""
        states = _settled(self._proxy.traces, self.calls)
        left = sum(each.calls for each in self._leavers)
        answered, recorded = self.calls - left, sum(states.values())
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
        is_right = recorded == self.calls and set(states) <= {"ok", "aborted"}
        if not is_right or not answered <= states.get("ok", 0) <= self.calls:
            dropped = " (its queue was full)" if "a record was dropped" in log() else ""
            raise Wrong(f"{answered:,} of {self.calls:,} calls were answered whole, the others "
                        f"broken off; on record are {told}{dropped}")  # fmt: skip
        sessions = conversations([*self._whole, *self._streams])
        return (
            f"All {self.calls:,} calls are on record: {told}; "
            f"{sessions:,} conversations are as many sessions."
        )

    def summary(self) -> str:
        """How long calls took, and how memory and handles grew after the first half."""
        early, late = self.held[len(self.held) // 2 - 1], self.held[-1]
        more = 100 * (late.memory / early.memory - 1)
        p50, p99 = _milliseconds(self._all_took)
        return (
            f"Calls: {p50:.1f} ms (p50), {p99:.1f} ms (p99).\n"
            f"Memory: {early.memory / 1e6:.0f} MB after half of the way, "
            f"{late.memory / 1e6:.0f} MB at its end ({more:+.0f} %); "
            f"handles: {early.handles}, then {late.handles}."
        )


def _milliseconds(took: list[float]) -> tuple[float, float]:
    p50, p99 = percentiles(took) if len(took) > 1 else (0.0, 0.0)
    return 1000 * p50, 1000 * p99


def held_by(proxy: Proxy) -> Held:
    """What a proxy holds now, with the processes that it started; raises OSError without /proc."""
    processes = list(family(proxy.pid))
    files = (proxy.traces, Path(f"{proxy.traces}-wal"))
    return Held(
        sum(map(resident_bytes, processes)),
        sum(len(os.listdir(each / "fd")) for each in processes),
        sum(path.stat().st_size for path in files if path.exists()),
    )


def _settled(traces: Path, calls: int) -> dict[str, int]:
    """The states of the calls on record, when all have ended or nothing more comes."""
    states: dict[str, int] = {}
    news = time.monotonic()
    while time.monotonic() - news < STILL_SECONDS:
        with closing(sqlite3.connect(f"{traces.as_uri()}?mode=ro", uri=True)) as database:
            now = dict(database.execute(_STATES).fetchall())
        if now != states:
            states, news = now, time.monotonic()
        if sum(states.values()) == calls and "in_flight" not in states:
            break
        time.sleep(POLL_SECONDS)
    return states


def main() -> int:
    options = _options()
    plan = Plan(0 if options.minutes else options.calls, options.minutes * 60)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(CONFIG)
        config.flush()
        mitmproxy = QUIET | {"callerid_config": config.name} | (WEB if options.mitmweb else {})
        program = "mitmweb" if options.mitmweb else "mitmdump"
        try:
            with CannedProvider() as provider, Proxy(
                ADDON, options=mitmproxy, program=program
            ) as proxy:  # fmt: skip
                soak = Soak(plan, proxy, provider, options.body, options.rest)
                with Looker(proxy, options.look) as looker:
                    asyncio.run(soak.run())
                print(soak.verdict(lambda: proxy.log))
        except (Wrong, RuntimeError) as wrong:
            print(f"scripts/soak: {wrong}", file=sys.stderr)
            return 1
    print(soak.summary())
    if options.look:
        print(looker.told())
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--calls", type=int, default=CALLS, metavar="N",
                        help=f"so many calls (default {CALLS:,})")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=0, metavar="N",
                        help="for so long, instead")  # fmt: skip
    parser.add_argument("--body", type=int, default=BODY, metavar="BYTES",
                        help=f"of a request, on average (default {BODY:,})")  # fmt: skip
    parser.add_argument("--rest", type=float, default=0, metavar="SECONDS",
                        help="that a client rests between two calls (default: none, as fast as "
                        "it can)")  # fmt: skip
    parser.add_argument("--mitmweb", action="store_true", help="in mitmweb, not in mitmdump")
    parser.add_argument("--look", type=int, default=0, metavar="N",
                        help="N people look at the explorer meanwhile, one page after "
                        "the other")  # fmt: skip
    options = parser.parse_args()
    if options.calls < 1 or options.minutes < 0 or options.body < 2_000:
        parser.error("--calls is above 0, --body at least 2000")
    return options


if __name__ == "__main__":
    sys.exit(main())
