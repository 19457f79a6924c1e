"""A connection to Redis or Valkey in the proxy's loop (RESP 2): commands out, replies in.

Our own, because a reply must be there in the moment in which the loop reads it, whatever else
waits, and one that comes too late must not cost the connection.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from callerid.sharing.engine import SECONDS_TO_WAIT, Away

Value = bytes | int | None | list["Value"] | Exception
_END = b"\r\n"


class Place(NamedTuple):
    """Where a server is, and how it is entered."""

    host: str
    port: int
    user: str
    password: str
    database: int
    tls: bool
    socket: str

    @property
    def words(self) -> str:
        """Where it is, without who enters it and how."""
        where = self.socket or f"{self.host}:{self.port}"
        return f"Redis at {where}, database {self.database}"


def place(url: str) -> Place:
    """redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS, unix://PATH?db=DB.

    Raises ValueError.
    """
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        database = (parse_qs(parts.query).get("db") or ["0"])[0]
        return Place("", 0, user, password, int(database), False, parts.path)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("expected redis://HOST:PORT/DB, rediss:// or unix://PATH")
    database = parts.path.strip("/") or "0"
    tls = parts.scheme == "rediss"
    return Place(parts.hostname, parts.port or 6379, user, password, int(database), tls, "")


class _Waiting(NamedTuple):
    future: Future[Any]
    convert: Callable[[Any], Any]


class Connection(asyncio.Protocol):
    """One connection; replies come in the order of the commands."""

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Waiting] = deque()
        self._came = bytearray()
        self._answered = 0
        self._check: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether commands may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all who wait."""
        self._transport = None
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(Away("the connection was lost"))
        self.on_lost()

    def ask(
        self, words: Sequence[bytes], convert: Callable[[Any], Any] = lambda value: value
    ) -> Future[Any]:
        """Send a command; what comes of it, as `convert` makes it."""
        loop = asyncio.get_running_loop()
        future: Future[Any] = loop.create_future()
        if self._transport is None or self._transport.is_closing():
            future.set_exception(Away("there is no connection"))
            return future
        self._waiting.append(_Waiting(future, convert))
        if self._check is None:
            self._check = loop.call_later(SECONDS_TO_WAIT, self._look_after, self._answered)
        said = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
        self._transport.write(b"*%d\r\n%b" % (len(words), said))
        return future

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._came += data
        came, at = bytes(self._came), 0
        while at < len(came):
            try:
                value, at = _read(came, at)
            except _NotAllThere:
                break
            except (ValueError, RecursionError):
                at = len(came)  # nothing after it can be read
                self.close()
                break
            self._answer(value)
        del self._came[:at]

    def close(self) -> None:
        """End it; who waits is told."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, value: Value) -> None:
        if not self._waiting:
            self.close()  # nobody has asked
            return
        self._answered += 1
        future, convert = self._waiting.popleft()
        if future.done():
            return
        if isinstance(value, Exception):
            future.set_exception(value)
            return
        try:
            future.set_result(convert(value))
        except (TypeError, ValueError, AttributeError) as error:
            future.set_exception(Away(f"it said something else: {type(error).__name__}"))

    def _look_after(self, answered: int) -> None:
        """Let a connection go on which nothing was answered for all too long."""
        self._check = None
        if self._waiting and self._answered == answered:
            self.close()
        elif self._waiting:
            loop = asyncio.get_running_loop()
            self._check = loop.call_later(SECONDS_TO_WAIT, self._look_after, self._answered)


class _NotAllThere(Exception):
    """More has to come before this is a reply."""


def _read(came: bytes, at: int) -> tuple[Value, int]:
    """The reply that begins at a place, and where it ends; raises ValueError, _NotAllThere."""
    end = came.find(_END, at)
    if end < 0:
        raise _NotAllThere
    kind, said, at = came[at : at + 1], came[at + 1 : end], end + 2
    if kind == b"$":
        size = int(said)
        if size < 0:
            return None, at
        if len(came) < at + size + 2:
            raise _NotAllThere
        if came[at + size : at + size + 2] != _END:
            raise ValueError("expected the end of a reply of Redis")
        return came[at : at + size], at + size + 2
    if kind == b"*":
        found: list[Value] = []
        for _ in range(int(said)):
            value, at = _read(came, at)
            found.append(value)
        return found, at
    if kind == b":":
        return int(said), at
    if kind == b"+":
        return said, at
    if kind == b"-":
        return Away(said.decode("utf-8", "replace")), at
    raise ValueError(f"expected a reply of Redis, got {kind!r}")


async def connect(where: Place) -> Connection:
    """A connection that was let in; raises Away."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SECONDS_TO_WAIT):
            if where.socket:
                _, made = await loop.create_unix_connection(Connection, where.socket)
            else:
                tls = ssl.create_default_context() if where.tls else None
                _, made = await loop.create_connection(Connection, where.host, where.port, ssl=tls)
            if where.password:
                names = [where.user, where.password] if where.user else [where.password]
                await made.ask([b"AUTH", *(name.encode() for name in names)])
            if where.database:
                await made.ask([b"SELECT", b"%d" % where.database])
            await made.ask([b"PING"])
    except (OSError, TimeoutError) as error:
        raise Away(str(error) or type(error).__name__) from None
    return made
