"""Clients that ask for streams through a proxy: each on a connection of its own, or many on one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from lab import canned, holding
from lab.http2 import Tunnel, request_line
from lab.load import SESSION, Wrong

A_CONNECTION = 100  # streams at once: more mitmproxy does not allow
_END = b"\r\n\r\n"


class Begun(NamedTuple):
    """A stream whose first event has come, after so many seconds, in a session."""

    stream: Held
    first: float
    session: str


class Held(Protocol):
    """A stream that is held back."""

    async def rest(self) -> bytes:
        """All that comes after the first event; raises Wrong."""


class Asker(Protocol):
    """A way to ask for streams."""

    async def begin(self, number: int) -> Begun:
        """Ask for a stream, and wait for its first event; raises Wrong."""

    async def close(self) -> None:
        """Hang up."""


class Apart:
    """HTTP/1.1: each stream on a connection of its own."""

    def __init__(self, proxy_port: int, upstream_port: int) -> None:
        self._proxy_port = proxy_port
        self._host = b"127.0.0.1:%d" % upstream_port

    async def begin(self, number: int) -> Begun:
        body = _body(number)
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy_port)
            writer.write(
                b"POST http://%b/v1/messages HTTP/1.1\r\nhost: %b\r\n%b: %d\r\n"
                b"content-length: %d\r\n\r\n%b"
                % (self._host, self._host, canned.TURN, number, len(body), body)
            )
            head = await reader.readuntil(_END)
            if not head.startswith(b"HTTP/1.1 200"):
                raise Wrong(f"stream {number}: {head.partition(bytes([13]))[0].decode('latin-1')}")
            came = await reader.readuntil(b"\n\n")
        except (OSError, EOFError) as error:
            raise Wrong(f"stream {number} did not begin: {error!r}") from None
        _check_first(number, came)
        session = canned.fields(head[: -len(_END)]).get(SESSION, b"").decode()
        return Begun(_Alone(reader, writer), time.monotonic() - began, session)

    async def close(self) -> None:
        """Each stream has hung up by itself."""


class _Alone(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def rest(self) -> bytes:
        try:
            return await self.reader.read()
        except OSError as error:
            raise Wrong(f"a stream was broken off: {error!r}") from None
        finally:
            self.writer.close()


class Together:
    """HTTP/2 in TLS: a hundred streams on a connection; the next is made when one is full."""

    def __init__(self, proxy_port: int, upstream_port: int, ca: Path) -> None:
        self._proxy_port = proxy_port
        self._host = b"127.0.0.1:%d" % upstream_port
        self._ca = ca
        self._tunnels: dict[int, asyncio.Task[Tunnel]] = {}

    async def begin(self, number: int) -> Begun:
        body = _body(number)
        fields = [*request_line(self._host), (canned.TURN, b"%d" % number),
                  (b"content-length", b"%d" % len(body))]  # fmt: skip
        began = time.monotonic()
        try:
            tunnel = await self._tunnel(number // A_CONNECTION)
            stream = await tunnel.ask(fields, body)
        except (OSError, EOFError) as error:
            raise Wrong(f"stream {number} did not begin: {error!r}") from None
        head = await stream.head()
        if head[b":status"] != b"200":
            raise Wrong(f"stream {number}: {head[b':status'].decode('latin-1')}")
        came = b""
        while not came.endswith(b"\n\n") and (piece := await stream.piece()):
            came += piece
        _check_first(number, came)
        return Begun(stream, time.monotonic() - began, head.get(SESSION, b"").decode())

    async def close(self) -> None:
        for tunnel in self._tunnels.values():
            await (await tunnel).close()

    async def _tunnel(self, number: int) -> Tunnel:
        if number not in self._tunnels:
            self._tunnels[number] = asyncio.ensure_future(self._opened())
        return await self._tunnels[number]

    async def _opened(self) -> Tunnel:
        tunnel = Tunnel(self._ca)
        await tunnel.open(self._proxy_port, self._host)
        return tunnel


def _body(number: int) -> bytes:
    said = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello, %d"}]}'
    return said % number


def _check_first(number: int, came: bytes) -> None:
    if came != holding.first(b"%d" % number):
        raise Wrong(f"stream {number} began with {came[:200]!r}")
