"""The load: connections that hold conversations through a proxy, one call after the other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import NamedTuple

from lab import canned
from lab.longtalks import Call, Shape, conversation

KEY = "sk-bench-0123456789"
SESSION = b"x-callerid-session-id"
LEAD_IN = 0.3  # of the time that is measured
ENOUGH = 5  # times the conversations of the lead-in are written before what is measured begins
LEAST_CALLS = 2  # however short the time is: of one there are no percentiles
PATIENCE_SECONDS = 30.0  # for a reply that takes milliseconds
_END = b"\r\n\r\n"
_numbers = itertools.count(1)  # of conversations: no two of a run are alike


class Wrong(Exception):
    """The measurement is worth nothing; the message says why, in one line."""


class Took(NamedTuple):
    """Seconds from the first byte of a request to the first and the last of the reply's body.

    `gaps` are the seconds between the pieces in which a stream came.
    """

    first: float
    last: float
    gaps: Sequence[float] = ()


class Connection:
    """One connection to a proxy, and the conversation held on it.

    `sessions` has each conversation with the session id that callerid has sent back.
    """

    def __init__(self, proxy_port: int, provider_port: int, shape: Shape, *, streams: bool) -> None:
        self.calls = 0
        self.conversations = 0
        self.sessions: set[tuple[str, bytes]] = set()
        self._proxy_port = proxy_port
        self._host = b"127.0.0.1:%d" % provider_port
        self._target = b"http://%b/v1/messages" % self._host
        self._shape = shape
        self._streams = streams
        self._now: Iterator[Call] = iter(())
        self._ready: deque[Iterator[Call]] = deque()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._proxy_port)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def prepare(self, conversations: int) -> None:
        """Write some conversations, so that it need not be done in the time that is measured."""
        while len(self._ready) < conversations:
            number = next(_numbers)
            self._ready.append(conversation(number, self._shape, streams=self._streams))

    def next(self) -> Call:
        call = next(self._now, None)
        if call is None:
            self.prepare(1)
            self._now = self._ready.popleft()
            self.conversations += 1
            call = next(self._now)
        self.calls += 1
        return call

    async def ask(self, call: Call) -> Took:
        """Make one call, and read its reply to the end; raises Wrong."""
        try:
            return await self._ask(call)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Wrong(f"a reply could not be read: {error!r}") from None

    async def _ask(self, call: Call) -> Took:
        began = time.perf_counter()
        self._writer.writelines([self._head(call), call.body, call.end])
        head = await self._reader.readuntil(_END)
        if not head.startswith(b"HTTP/1.1 200 "):
            status = head.partition(b"\r\n")[0].decode("latin-1")
            raise Wrong(f"a reply is not 200 OK, but {status!r}")
        said = canned.fields(head[: -len(_END)])
        if self._streams:
            arrived = await self._read_chunks()
        else:
            await self._reader.readexactly(int(said[b"content-length"]))
            arrived = [time.perf_counter()]
        gaps = [b - a for a, b in itertools.pairwise(arrived)]
        took = Took(arrived[0] - began, time.perf_counter() - began, gaps)
        self.sessions.add((call.turn.partition("-")[0], said.get(SESSION, b"")))
        return took

    def _head(self, call: Call) -> bytes:
        accept = canned.EVENT_STREAM if self._streams else b"application/json"
        return (
            b"POST %b HTTP/1.1\r\nhost: %b\r\naccept: %b\r\n"
            b"user-agent: bench\r\nx-api-key: %b\r\nanthropic-version: 2023-06-01\r\n%b: %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
        ) % (
            self._target, self._host, accept, KEY.encode(), canned.TURN, call.turn.encode(),
            call.length,
        )  # fmt: skip

    async def _read_chunks(self) -> list[float]:
        """Read a body in chunks; returns when each of them was there."""
        arrived = []
        while size := int(await self._reader.readline(), 16):
            arrived.append(time.perf_counter())
            await self._reader.readexactly(size + 2)
        await self._reader.readline()
        return arrived


@dataclass
class Side:
    """One proxy under load: its connections, and what was measured of them."""

    connections: list[Connection]
    seconds: float = 0.0
    windows: list[tuple[float, float]] = field(default_factory=list)  # monotonic
    took: list[Took] = field(default_factory=list)

    async def open(self) -> None:
        for connection in self.connections:
            await connection.open()

    async def measure(self, seconds: float) -> None:
        """Measure for some time, after a lead-in.

        Part of the work comes a moment after the call: the lead-in leaves what the end does not do.
        """
        held = [connection.conversations for connection in self.connections]
        await self._run(seconds * LEAD_IN)
        for connection, before in zip(self.connections, held, strict=True):
            connection.prepare(round(ENOUGH * (connection.conversations - before)) + 1)
        began = time.monotonic()
        self.took += await self._run(seconds)
        self.windows.append((began, time.monotonic()))
        self.seconds += self.windows[-1][1] - began

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    async def _run(self, seconds: float) -> list[Took]:
        """Let all connections talk for some time; each makes at least two calls."""
        until = time.perf_counter() + seconds
        talks = asyncio.gather(*(_talk(each, until) for each in self.connections))
        try:
            took = await asyncio.wait_for(talks, seconds + PATIENCE_SECONDS)
        except TimeoutError:
            raise Wrong(f"a reply did not come within {PATIENCE_SECONDS:.0f} s") from None
        return list(itertools.chain(*took))


def percentiles(figures: list[float]) -> tuple[float, float]:
    """The middle one, and the one that a hundredth is above."""
    cuts = quantiles(figures, n=100, method="inclusive")
    return cuts[49], cuts[98]


async def _talk(connection: Connection, until: float) -> list[Took]:
    took: list[Took] = []
    while len(took) < LEAST_CALLS or time.perf_counter() < until:
        took.append(await connection.ask(connection.next()))
    return took
