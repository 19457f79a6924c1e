"""Connections to a proxy that speak HTTP/2 in TLS, as the SDKs of the vendors do."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from lab import canned
from lab.load import KEY, SESSION, Connection, Took, Wrong
from lab.longtalks import Call, Shape

Fields = list[tuple[bytes, bytes]]

_READ = 1 << 16
_ROOM = 1 << 24  # of the window for replies: no call waits for it


class Stream:
    """What comes of one request: a head, and a body in pieces; raises Wrong where it breaks off."""

    def __init__(self) -> None:
        self._come: asyncio.Queue[object] = asyncio.Queue()

    def take(self, event: object) -> None:
        self._come.put_nowait(event)

    async def head(self) -> dict[bytes, bytes]:
        while not isinstance(event := await self._next(), h2.events.ResponseReceived):
            pass
        return dict(event.headers or ())

    async def piece(self) -> bytes:
        """The next piece of the body; none, when it has ended."""
        while not isinstance(event := await self._next(), h2.events.StreamEnded):
            if isinstance(event, h2.events.DataReceived) and event.data:
                return event.data
        return b""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The rest of the body, each piece as it comes."""
        while piece := await self.piece():
            yield piece

    async def rest(self) -> bytes:
        """The rest of the body, when it has ended."""
        return b"".join([piece async for piece in self.pieces()])

    async def _next(self) -> h2.events.Event:
        event = await self._come.get()
        broken = (h2.events.StreamReset, h2.events.ConnectionTerminated)
        if isinstance(event, broken) or not isinstance(event, h2.events.Event):
            raise Wrong(f"a reply was broken off: {event}")
        return event


class Tunnel:
    """A tunnel through a proxy, with many streams at once; `ca` is what vouches for the proxy."""

    def __init__(self, ca: Path) -> None:
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.set_alpn_protocols(["h2"])
        self._streams: dict[int, Stream] = {}
        self._news = asyncio.Event()

    async def open(self, proxy_port: int, host: bytes) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", proxy_port)
        self._writer.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (host, host))
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise Wrong(f"the proxy makes no tunnel: {head!r}")
        await self._writer.start_tls(self._context, server_hostname="127.0.0.1")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ROOM)
        self._flush()
        self._listening = asyncio.ensure_future(self._listen())

    def leave(self) -> None:
        """Close the connection, whatever is under way."""
        self._writer.close()

    async def close(self) -> None:
        self.leave()
        await self._writer.wait_closed()
        await self._listening

    async def ask(self, fields: Fields, body: bytes) -> Stream:
        """Send a request; raises Wrong."""
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = Stream()
        self._h2.send_headers(number, fields)
        rest = memoryview(body)
        while rest:
            if self._listening.done():
                raise Wrong("the connection ended before a request was sent")
            if room := self._room(number):
                self._h2.send_data(number, bytes(rest[:room]), end_stream=room >= len(rest))
                rest = rest[room:]
                self._flush()
            else:
                self._news.clear()
                await self._news.wait()
        return stream

    def cancel(self, code: h2.errors.ErrorCodes = h2.errors.ErrorCodes.CANCEL) -> None:
        """Ask for no more of what is under way, as clients do whose user has gone."""
        for number in self._streams:
            self._h2.reset_stream(number, code)
        self._flush()

    def go_away(self) -> None:
        """Say that nothing more will come, and that nobody waits."""
        self._h2.close_connection()
        self._flush()

    async def _listen(self) -> None:
        """Give each stream what comes for it, until the connection ends."""
        ended: object = "the connection ended"
        try:
            while data := await self._reader.read(_READ):
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
                self._news.set()
        except (OSError, h2.exceptions.ProtocolError) as error:
            ended = error
        self._tell_all(ended)
        self._news.set()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self._tell_all(event)
        if isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        number = getattr(event, "stream_id", None)
        if stream := self._streams.get(number or 0):
            stream.take(event)
        if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self._streams.pop(event.stream_id, None)

    def _tell_all(self, event: object) -> None:
        for stream in self._streams.values():
            stream.take(event)
        self._streams.clear()

    def _room(self, stream: int) -> int:
        return min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())


class Http2Connection(Connection):
    """As Connection, in a tunnel through the proxy."""

    def __init__(
        self, proxy_port: int, provider_port: int, shape: Shape, *, streams: bool, ca: Path
    ) -> None:
        super().__init__(proxy_port, provider_port, shape, streams=streams)
        self._tunnel = Tunnel(ca)

    async def open(self) -> None:
        await self._tunnel.open(self._proxy_port, self._host)

    async def close(self) -> None:
        await self._tunnel.close()

    async def _ask(self, call: Call) -> Took:
        began = time.perf_counter()
        stream = await self._tunnel.ask(self._fields(call), bytes(call.body) + call.end)
        self._check(call, await stream.head())
        arrived = [time.perf_counter() async for _ in stream.pieces()]
        gaps = [b - a for a, b in itertools.pairwise(arrived)]
        return Took(arrived[0] - began, time.perf_counter() - began, gaps)

    def _check(self, call: Call, said: dict[bytes, bytes]) -> None:
        if said[b":status"] != b"200":
            raise Wrong(f"a reply is not 200 OK, but {said[b':status']!r}")
        self.sessions.add((call.turn.partition("-")[0], said.get(SESSION, b"")))

    def _fields(self, call: Call) -> Fields:
        accept = canned.EVENT_STREAM if self._streams else b"application/json"
        return [
            *request_line(self._host), (b"accept", accept), (b"user-agent", b"bench"),
            (b"x-api-key", KEY.encode()), (b"anthropic-version", b"2023-06-01"),
            (canned.TURN, call.turn.encode()), (b"content-type", b"application/json"),
            (b"content-length", b"%d" % call.length),
        ]  # fmt: skip


def request_line(host: bytes) -> Fields:
    """What stands in HTTP/2 for the first line of a call."""
    return [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", host),
            (b":path", b"/v1/messages")]  # fmt: skip
