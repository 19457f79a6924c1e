"""Upstreams that break off over HTTP/2: a client sees what it would with mitmdump alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from lab import Proxy
from lab.certificates import certificates
from lab.http2 import Tunnel, request_line
from lab.load import Wrong
from test_end_to_end import DEADLINE_SECONDS, MESSAGES, on_record
from test_faults import PASSES, STREAM

Connection = h2.connection.H2Connection
SOON_SECONDS = 0.3
ENDED = "select state from calls where state != 'in_flight'"
STREAM_CLOSED = h2.errors.ErrorCodes.STREAM_CLOSED
TYPE = (b"content-type", b"application/json")
HEADERS = [(":status", "200"), ("content-type", "text/event-stream")]


def begin(connection: Connection, stream: int) -> None:
    connection.send_headers(stream, HEADERS)
    connection.send_data(stream, STREAM[:200])


def reset_at_once(connection: Connection, stream: int) -> None:
    connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)


def reset_in_the_middle(connection: Connection, stream: int) -> None:
    begin(connection, stream)
    connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)


def go_away_in_the_middle(connection: Connection, stream: int) -> None:
    begin(connection, stream)
    connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)


def end_whole_and_go_away(connection: Connection, stream: int) -> None:
    begin(connection, stream)
    connection.send_data(stream, STREAM[200:], end_stream=True)
    connection.close_connection()


class Behaves(NamedTuple):
    """What an upstream answers, whether it ends the connection then, and how that is on record."""

    answer: Callable[[Connection, int], None]
    state: str
    closes: bool = False


UPSTREAMS = {
    "resets at once": Behaves(reset_at_once, "unreachable"),
    "resets in the middle": Behaves(reset_in_the_middle, "unreachable"),
    "goes away in the middle": Behaves(go_away_in_the_middle, "unreachable"),
    "breaks off in the middle": Behaves(begin, "unreachable", closes=True),
    "ends whole and goes away": Behaves(end_whole_and_go_away, "ok"),
}


@contextmanager
def upstream(behaves: Behaves) -> Iterator[int]:
    """The port of a server that speaks HTTP/2 in TLS, and answers one call a connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates().certificate, certificates().key)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = server.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(plain, True) as sock:
                        _answer(sock, behaves)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _answer(sock: ssl.SSLSocket, behaves: Behaves) -> None:
    connection = Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    sock.sendall(connection.data_to_send())
    asked: list[int] = []
    while not asked and (data := sock.recv(65536)):
        events = connection.receive_data(data)
        asked += [at.stream_id for at in events if isinstance(at, h2.events.StreamEnded)]
        sock.sendall(connection.data_to_send())
    behaves.answer(connection, asked[0])
    sock.sendall(connection.data_to_send())
    if behaves.closes:
        time.sleep(SOON_SECONDS)  # or mitmproxy sees the end first
    while not behaves.closes and sock.recv(65536):
        pass


async def seen(
    proxy: Proxy, port: int, leave: Callable[[Tunnel], object] | None = None
) -> tuple[object, ...]:
    """What a client sees: a status and the bytes that came, and how they broke off if they did.

    After the first piece it may leave.
    """
    host = b"127.0.0.1:%d" % port
    body = json.dumps(MESSAGES | {"stream": True}).encode()
    head: dict[bytes, bytes] = {}
    came = b""
    broke_off = ""
    tunnel = Tunnel(proxy.ca_file)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await tunnel.open(proxy.port, host)
        try:
            stream = await tunnel.ask([*request_line(host), TYPE], body)
            head = await stream.head()
            async for piece in stream.pieces():
                came += piece
                if leave is not None:
                    leave(tunnel)
                    await asyncio.sleep(SOON_SECONDS)
                    break
        except Wrong as error:
            broke_off = str(error)
        await tunnel.close()
    status = head.get(b":status")
    return status, came if status == b"200" else b"", broke_off


@pytest.mark.parametrize("name", UPSTREAMS)
def test_an_upstream_that_breaks_off_over_http2_looks_as_without_us(
    addon_script: Path, name: str
) -> None:
    behaves = UPSTREAMS[name]
    with upstream(behaves) as port, Proxy(PASSES) as bare, Proxy(addon_script) as ours:
        without, with_us = asyncio.run(seen(bare, port)), asyncio.run(seen(ours, port))
        ours.stop()
        rows = on_record(ours.traces, "select state from calls")

    assert with_us == without
    assert [row["state"] for row in rows] == [behaves.state]


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(Tunnel.cancel, id="cancels"),
        pytest.param(lambda tunnel: tunnel.cancel(STREAM_CLOSED), id="cancels as libcurl does"),
        pytest.param(Tunnel.go_away, id="says that it goes"),
        pytest.param(Tunnel.leave, id="closes"),
    ],
)
def test_a_client_that_leaves_over_http2_is_on_record_as_one_that_left(
    addon_script: Path, leave: Callable[[Tunnel], object]
) -> None:
    with upstream(Behaves(begin, "aborted")) as port, Proxy(addon_script) as proxy:
        status, came, _ = asyncio.run(seen(proxy, port, leave))
        until = time.monotonic() + DEADLINE_SECONDS
        while not (rows := on_record(proxy.traces, ENDED)) and time.monotonic() < until:
            time.sleep(0.05)

    assert (status, came) == (b"200", STREAM[:200])
    assert [row["state"] for row in rows] == ["aborted"]
