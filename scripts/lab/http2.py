"""A connection to a proxy that speaks HTTP/2 in TLS, as the SDKs of the vendors do."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from lab import canned
from lab.load import KEY, SESSION, Connection, Took, Wrong
from lab.longtalks import Call, Shape

_READ = 1 << 16
_ROOM = 1 << 24  # of the window for replies: no call waits for it


class Http2Connection(Connection):
    """As Connection, in a tunnel through the proxy; `ca` is what vouches for the proxy."""

    def __init__(
        self, proxy_port: int, provider_port: int, shape: Shape, *, streams: bool, ca: Path
    ) -> None:
        super().__init__(proxy_port, provider_port, shape, streams=streams)
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.set_alpn_protocols(["h2"])

    async def open(self) -> None:
        await super().open()
        self._writer.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (self._host, self._host))
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise Wrong(f"the proxy makes no tunnel: {head!r}")
        await self._writer.start_tls(self._context, server_hostname="127.0.0.1")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ROOM)
        self._flush()

    async def _ask(self, call: Call) -> Took:
        began = time.perf_counter()
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, self._fields(call))
        rest = memoryview(bytes(call.body) + call.end)
        first = 0.0
        arrived: list[float] = []
        while True:
            while rest and (room := self._room(stream)):
                self._h2.send_data(stream, bytes(rest[:room]), end_stream=room >= len(rest))
                rest = rest[room:]
            self._flush()
            for event in self._h2.receive_data(await self._more()):
                if isinstance(event, h2.events.ResponseReceived):
                    self._check(call, dict(event.headers))
                elif isinstance(event, h2.events.DataReceived):
                    arrived.append(time.perf_counter())
                    first = first or arrived[-1]
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    self._flush()
                    gaps = [b - a for a, b in itertools.pairwise(arrived)]
                    return Took(first - began, time.perf_counter() - began, gaps)
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise Wrong(f"a reply was broken off: {event}")

    def _check(self, call: Call, said: dict[bytes, bytes]) -> None:
        if said[b":status"] != b"200":
            raise Wrong(f"a reply is not 200 OK, but {said[b':status']!r}")
        self.sessions.add((call.turn.partition("-")[0], said.get(SESSION, b"")))

    def _fields(self, call: Call) -> list[tuple[bytes, bytes]]:
        accept = canned.EVENT_STREAM if self._streams else b"application/json"
        return [
            (b":method", b"POST"), (b":scheme", b"https"), (b":authority", self._host),
            (b":path", b"/v1/messages"), (b"accept", accept), (b"user-agent", b"bench"),
            (b"x-api-key", KEY.encode()), (b"anthropic-version", b"2023-06-01"),
            (canned.TURN, call.turn.encode()), (b"content-type", b"application/json"),
            (b"content-length", b"%d" % call.length),
        ]  # fmt: skip

    def _room(self, stream: int) -> int:
        return min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _more(self) -> bytes:
        data = await self._reader.read(_READ)
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
        return data
