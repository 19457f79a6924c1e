"""Holds many streams open at once, through mitmproxy bare and with callerid, one after the other.

Each client asks for a stream of its own and gets its first event; when all have theirs, all are
told the rest at once. It prints, for each side:

begun      seconds until the last of them had its first event, and of how many a second that is
first byte milliseconds from a request to its first event (of clients that ask a few at a time)
ended      seconds from there until the last of them had all
memory     of the proxy and what it has started, with all streams open (resident, MB), and handles

It fails where a stream does not come whole, or is not on record as such. The proxy holds two
sockets a stream: what one process may open here (ulimit -Hn) bounds how many there can be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from lab.duel import ADDON, QUIET, STREAMS
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
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_END = b"\r\n\r\n"


def event(name: str, **said: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **said})}\n\n".encode()


FIRST = event("message_start", message={"id": "msg_1", "role": "assistant", "content": [],
              "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}})  # fmt: skip
REST = b"".join((
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"word {n} "})
      for n in range(20)),
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 40}),
    event("message_stop"),
))  # fmt: skip


class Crowd(NamedTuple):
    """What was seen of some streams through one proxy; times in seconds."""

    begun: float
    first: list[float]
    ended: float
    memory: int
    handles: int


def _allow_handles() -> int:
    """Have as many handles as this process may; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_streams() -> int:
    """How many streams the machine lets one proxy hold; this process may open as many from now."""
    return (_allow_handles() - OF_OUR_OWN) // 2


async def serve() -> None:
    """The upstream, in a process of its own: says its port; a line lets all streams go on."""
    may_go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            head = await reader.readuntil(_END)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
            await reader.readexactly(length)
            writer.write(HEAD + FIRST)
            await may_go_on.wait()
            writer.write(REST)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    if await asyncio.to_thread(sys.stdin.readline):
        may_go_on.set()
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def upstream() -> Iterator[tuple[int, Callable[[], None]]]:
    """The port of an upstream that holds its streams back, and how to let them go on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.crowd", "--upstream"], cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout

    def go_on() -> None:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]

    try:
        yield int(process.stdout.readline()), go_on
    finally:
        process.kill()
        process.communicate()


async def hold(count: int, proxy: Proxy) -> Crowd:
    """Hold so many streams open at once; raises Wrong."""
    with upstream() as (port, go_on):
        everybody = _Everybody(count)
        few = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with few:
                reader, writer, first = await _begin(number, proxy.port, port)
                everybody.one_more(first)
            rest = await reader.read()
            writer.close()
            if rest != REST:
                raise Wrong(f"stream {number} did not come whole")
            everybody.one_less()

        asked = asyncio.gather(*(one(number) for number in range(count)))
        watching = asyncio.ensure_future(everybody.all_begun())
        await asyncio.wait({asked, watching}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            await asked
        begun = await watching
        held = held_by(proxy)
        go_on()
        began = time.monotonic()
        await asyncio.wait_for(asked, PATIENCE_SECONDS)
        ended = time.monotonic() - began
    return Crowd(begun, everybody.first, ended, held.memory, held.handles)


class _Everybody:
    """Counts the streams that have begun and have ended; raises Wrong where none does for long."""

    def __init__(self, count: int) -> None:
        self.first: list[float] = []
        self._count = count
        self._ended = 0
        self._began = time.monotonic()

    def one_more(self, first: float) -> None:
        self.first.append(first)

    def one_less(self) -> None:
        self._ended += 1

    async def all_begun(self) -> float:
        """How long it took until all had begun."""
        seen, news = 0, time.monotonic()
        while len(self.first) < self._count:
            await asyncio.sleep(0.02)
            if len(self.first) > seen:
                seen, news = len(self.first), time.monotonic()
            if time.monotonic() - news > NEWS_SECONDS:
                raise Wrong(f"{seen:,} streams began, and then none for {NEWS_SECONDS:.0f} s")
        return time.monotonic() - self._began


async def _begin(
    number: int, proxy: int, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, float]:
    """Ask for a stream, and wait for its first event; how long that took."""
    said = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello, %d"}]}'
    body = said % number
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(
            b"POST http://127.0.0.1:%d/v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n"
            b"content-length: %d\r\n\r\n%b" % (port, port, len(body), body)
        )
        head = await reader.readuntil(_END)
        if not head.startswith(b"HTTP/1.1 200"):
            raise Wrong(f"stream {number}: {head.partition(bytes([13]))[0].decode('latin-1')}")
        await reader.readuntil(b"\n\n")
    except (OSError, EOFError) as error:
        raise Wrong(f"stream {number} did not begin: {error!r}") from None
    return reader, writer, time.monotonic() - began


def recorded(traces: Path, count: int) -> dict[str, int]:
    """The states of the calls on record, when all have ended or nothing more comes."""
    states: dict[str, int] = {}
    news = time.monotonic()
    while time.monotonic() - news < STILL_SECONDS:
        with closing(sqlite3.connect(f"{traces.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("select state, count(*) from calls group by state")
            now = dict(found.fetchall())
        if now != states:
            states, news = now, time.monotonic()
        if states == {"ok": count}:
            break
        time.sleep(0.1)
    return states


def through(script: Path, count: int) -> Crowd:
    """So many streams through a proxy with a script; raises Wrong."""
    with Proxy(script, options=QUIET) as proxy:
        crowd = asyncio.run(hold(count, proxy))
        if script == ADDON and (states := recorded(proxy.traces, count)) != {"ok": count}:
            raise Wrong(f"on record are {states}, and not {count:,} ok")
    return crowd


def table(count: int, sides: dict[str, Crowd]) -> Table:
    """What was seen, side by side."""
    made = Table("", "begun s", "a second", "first byte p50 ms", "p99 ms", "ended s",
                 "memory MB", "handles", title=f"{count:,} streams at once")  # fmt: skip
    for name, crowd in sides.items():
        p50, p99 = percentiles(crowd.first)
        made.add_row(
            name, f"{crowd.begun:.1f}", f"{count / crowd.begun:,.0f}", f"{1000 * p50:.0f}",
            f"{1000 * p99:.0f}", f"{crowd.ended:.1f}", f"{crowd.memory / 1e6:.0f}",
            f"{crowd.handles:,}",
        )  # fmt: skip
    return made


def main() -> int:
    options = _options()
    if options.upstream:
        asyncio.run(serve())
        return 0
    count = min(options.count, most_streams())
    if count < options.count:
        print(f"scripts/streams: {count:,} streams, not {options.count:,}: one process may open no "
              "more here (ulimit -Hn)", file=sys.stderr)  # fmt: skip
    try:
        sides = {"bare": through(STREAMS, count), "with callerid": through(ADDON, count)}
    except (Wrong, RuntimeError) as wrong:
        print(f"scripts/streams: {wrong}", file=sys.stderr)
        return 1
    Console(width=WIDTH).print(table(count, sides))
    print(f"All {count:,} came whole on both sides, and are on record as such.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/streams", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=COUNT, metavar="N",
                        help=f"so many (default {COUNT:,})")  # fmt: skip
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count < 2:
        parser.error("--count is at least 2")
    return options


if __name__ == "__main__":
    sys.exit(main())
