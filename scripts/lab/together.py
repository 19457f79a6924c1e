"""Recorded calls through several real proxies that share sessions, held against one proxy alone.

Each call goes to the next proxy in turn, as behind a round robin, on a connection of its own; the
provider answers it when its time on record has come. Whose each call is, is compared with what one
proxy says that takes them all.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from callerid.recordings import calls, reidentify
from callerid.recordings.recorded import RecordedCall
from lab.proxy import Proxy
from lab.servers import PostgresServer, RedisServer

ADDON = Path(__file__).parents[2] / "addon" / "main.py"
PATIENCE_SECONDS = 30.0
SESSION, AGENT, PARENT = (
    f"x-callerid-{what}".encode() for what in ("session-id", "agent-id", "parent-session-id")
)
_END = b"\r\n\r\n"
_NUMBER = b"x-lab-number"


class Heard(NamedTuple):
    """What a client heard of its call: the status, and whose callerid says that it is."""

    status: int
    session: str
    agent: str
    parent: str


class Replayed:
    """A provider that gives each call its reply on record, when it is let."""

    def __init__(self, found: Sequence[RecordedCall]) -> None:
        self._found = found
        self._asked = [asyncio.Event() for _ in found]
        self._free = [asyncio.Event() for _ in found]

    async def serve(self) -> int:
        """Begin; the port."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=1 << 26)
        return int(self._server.sockets[0].getsockname()[1])

    async def was_asked(self, number: int) -> None:
        await self._asked[number].wait()

    def let(self, number: int) -> None:
        """Let a call be answered."""
        self._free[number].set()

    def close(self) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while True:
                said = _fields(await reader.readuntil(_END))
                await reader.readexactly(int(said[b"content-length"]))
                number = int(said[_NUMBER])
                self._asked[number].set()
                await self._free[number].wait()
                call = self._found[number]
                body = call.reply or b""
                head = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d"
                writer.write(head % (call.status, len(body)) + _END + body)
        writer.close()


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


async def ask(port: int, number: int, call: RecordedCall) -> Heard:
    """Make a call at a proxy; raises OSError and EOFError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = call.request.body
    headers = [(n, v) for n, v in call.request.headers if n.lower() not in _OURS]
    lines = [f"POST {call.request.path} HTTP/1.1", "host: llm.example", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"{_NUMBER.decode()}: {number}", f"content-length: {len(body)}"]
    if not any(name.lower() == "content-type" for name, _ in headers):
        lines.append("content-type: application/json")
    writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + _END + body)
    try:
        head = await reader.readuntil(_END)
        said = _fields(head)
        await reader.readexactly(int(said.get(b"content-length", b"0")))
    finally:
        writer.close()
    ids = (said.get(name, b"").decode() for name in (SESSION, AGENT, PARENT))
    return Heard(int(head.split(b" ", 2)[1]), *ids)


_OURS = {"host", "connection", "content-length", "transfer-encoding", "content-encoding"}


class Fleet:
    """So many proxies before one provider, with the same settings; a `with` block's."""

    def __init__(self, count: int, provider_port: int, persistence: Mapping[str, Any]) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-together-"))
        self._settings = Path(folder) / "settings.yaml"
        kept = {"session": {"persistence": dict(persistence)}} if persistence else {}
        self._settings.write_text(json.dumps(kept | {"admin": {"enabled": True, "port": 0}}))
        self._mode = f"reverse:http://127.0.0.1:{provider_port}"
        self.leaving: list[Proxy] = []  # they get no more calls
        self.proxies = [self.begin() for _ in range(count)]

    def begin(self) -> Proxy:
        """One more proxy."""
        options = {"callerid_config": str(self._settings), "flow_detail": "0"}
        proxy = Proxy(ADDON, mode=self._mode, options=options)
        return self._stack.enter_context(proxy)

    def close(self) -> None:
        self._stack.close()


async def replay(
    found: Sequence[RecordedCall],
    count: int,
    persistence: Mapping[str, Any],
    happenings: Mapping[int, Callable[[Fleet], None]] | None = None,
    turnaround: float = 0.0,
) -> tuple[list[Heard | None], dict[str, int]]:
    """What was heard of each call (None: its proxy was gone), and what the proxies have counted.

    `happenings` are called in a thread before the call of a number is made. Who has heard a reply
    takes `turnaround` seconds until he goes on.
    """
    provider = Replayed(found)
    fleet = await asyncio.to_thread(Fleet, count, await provider.serve(), persistence)
    asked: list[asyncio.Task[Heard]] = []
    waiting: list[tuple[float, int]] = []

    async def answer() -> None:
        number = heapq.heappop(waiting)[1]
        provider.let(number)
        with suppress(OSError, EOFError):
            await asyncio.wait_for(asyncio.shield(asked[number]), PATIENCE_SECONDS)
        await asyncio.sleep(turnaround)

    try:
        for number, call in enumerate(found):
            while waiting and waiting[0][0] <= call.t:
                await answer()
            if happenings and number in happenings:
                await asyncio.to_thread(happenings[number], fleet)
            port = fleet.proxies[number % len(fleet.proxies)].port
            task = asyncio.ensure_future(ask(port, number, call))
            asked.append(task)
            arrived = asyncio.ensure_future(provider.was_asked(number))
            await asyncio.wait({task, arrived}, timeout=PATIENCE_SECONDS,
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            arrived.cancel()
            heapq.heappush(waiting, (call.t_response, number))
        while waiting:
            await answer()
        heard = await asyncio.gather(*asked, return_exceptions=True)
        trouble = await asyncio.to_thread(_trouble, fleet)
    finally:
        provider.close()
        await asyncio.to_thread(fleet.close)
    return [None if isinstance(each, BaseException) else each for each in heard], trouble


def _trouble(fleet: Fleet) -> dict[str, int]:
    import httpx

    found: dict[str, int] = {}
    for proxy in fleet.proxies:
        url = f"{proxy.url}/metrics"
        for kind, times in httpx.get(url, trust_env=False).json()["trouble"].items():
            found[kind] = found.get(kind, 0) + times
    return found


class Compared(NamedTuple):
    """How many calls both have heard of, and of how many sessions each says that they are.

    `moved` are the calls of another session; `agents` and `parents` count those of another agent,
    and those with a parent where the other has none.
    """

    calls: int
    sessions: int
    sessions_together: int
    moved: list[int]
    agents: int
    parents: int


def compare(one: Sequence[Heard | None], many: Sequence[Heard | None]) -> Compared:
    """Hold what several proxies say against what one says."""
    both = [
        (at, a, b)
        for at, (a, b) in enumerate(zip(one, many, strict=True))
        if a is not None and b is not None and a.session and b.session
    ]
    old, new = {str(at): a.session for at, a, _ in both}, {str(at): b.session for at, _, b in both}
    moved = [int(change.id) for change in reidentify.changes(old, new)]
    return Compared(
        len(both), len(set(old.values())), len(set(new.values())), moved,
        sum(a.agent != b.agent for _, a, b in both),
        sum(bool(a.parent) != bool(b.parent) for _, a, b in both),
    )  # fmt: skip


def recorded(corpus: Path, count: int, first: int = 0) -> list[RecordedCall]:
    """So many recorded calls one after the other, in the order of their time."""
    lines = calls.read(corpus, lambda file: iter(()))
    found = [line.call for line in lines if line.call is not None]
    return sorted(found, key=lambda call: call.t)[first : first + count]


def show(name: str, compared: Compared, trouble: Mapping[str, int], seconds: float) -> None:
    print(
        f"{name}: {compared.calls:,} calls, {compared.sessions:,} sessions by one proxy, "
        f"{compared.sessions_together:,} by all; calls of another session: {len(compared.moved)}, "
        f"of another agent: {compared.agents}, with a parent that the other has not: "
        f"{compared.parents}; counted: {dict(trouble)} ({seconds:.0f} s)",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/eval --together", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--proxies", type=int, default=4)
    parser.add_argument("--deadline", type=float, help="seconds, of all backends")
    parser.add_argument("--turnaround", type=float, default=0.01, help="seconds")
    asked = parser.parse_args()
    found = recorded(asked.folder / "corpora/sessions.jsonl.xz", asked.calls, asked.first)
    one, _ = asyncio.run(replay(found, 1, {}))
    wrong = 0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        places = {
            "redis": stack.enter_context(RedisServer()).url,
            "postgres": stack.enter_context(PostgresServer()).url,
            "file": str(Path(folder) / "shared.db"),
        }
        for backend, place in places.items():
            kept = {"backend": backend, "connection": place, "deadline_seconds": asked.deadline}
            began = time.monotonic()
            many, trouble = asyncio.run(
                replay(found, asked.proxies, kept, turnaround=asked.turnaround)
            )
            compared = compare(one, many)
            show(f"{asked.proxies} proxies, {backend}", compared, trouble, time.monotonic() - began)
            wrong += len(compared.moved)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
