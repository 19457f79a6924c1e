"""Streaming, shown by cause and effect: no chunk leaves before its forerunner has arrived."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import Asked, FakeProvider, Proxy

DEADLINE_SECONDS = 10.0  # never waited for, unless streaming is broken

# What the client offers in its TLS handshake, in its order, and what that leads to on both sides.
VERSIONS = {
    "http1": (["http/1.1"], "HTTP/1.1", "1.1"),
    "http2": (["h2", "http/1.1"], "HTTP/2", "2"),
    # httpx does this: mitmproxy takes the client's first, the provider the best of both.
    "http1_to_http2": (["http/1.1", "h2"], "HTTP/1.1", "2"),
}
DIALECTS: dict[str, dict[str, Any]] = {
    "/v1/messages": {
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    },
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    },
    "/v1/responses": {"input": "Hello", "stream": True},
    "/v1beta/models/m:streamGenerateContent?alt=sse": {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}]
    },
}


class OneByOne:
    """Lets the provider send an event only when the client holds the one before it.

    Past the deadline it lets everything go, so that the history shows what came in which order.
    """

    def __init__(self) -> None:
        self.history: list[tuple[str, int]] = []
        self._held = threading.Condition()
        self._is_hopeless = False

    async def before_chunk(self, asked: Asked, index: int) -> None:
        await asyncio.to_thread(self._wait_for, index - 1)
        self.history.append(("sent", index))

    def hold(self, index: int) -> None:
        with self._held:
            self.history.append(("held", index))
            self._held.notify_all()

    def _wait_for(self, index: int) -> None:
        with self._held:
            while not self._is_hopeless and index >= 0 and ("held", index) not in self.history:
                self._is_hopeless = not self._held.wait(DEADLINE_SECONDS)


class Offer(ssl.SSLContext):
    """Offers HTTP versions in an order of our own; httpx always puts HTTP/1.1 first."""

    protocols: list[str]

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        super().set_alpn_protocols(self.protocols)


def offer(protocols: list[str], ca_file: Path) -> Offer:
    context = Offer(ssl.PROTOCOL_TLS_CLIENT)
    context.protocols = protocols
    context.load_verify_locations(ca_file)
    return context


def events(answer: httpx.Response) -> Iterator[bytes]:
    """The server-sent events, each as soon as it is whole."""
    waiting = b""
    for data in answer.iter_bytes():
        *whole, waiting = (waiting + data).replace(b"\r\n", b"\n").split(b"\n\n")
        yield from whole


@pytest.fixture(scope="module")
def proxy(addon_script: Path) -> Iterator[Proxy]:
    with Proxy(addon_script) as proxy:
        yield proxy


@pytest.mark.parametrize("path", DIALECTS, ids=["anthropic", "chat", "responses", "gemini"])
@pytest.mark.parametrize("encoding", ["", "gzip"], ids=["plain", "gzip"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_holds_each_event_before_the_next_is_sent(
    proxy: Proxy, version: str, encoding: str, path: str
) -> None:
    offered, to_proxy, to_provider = VERSIONS[version]
    one_by_one = OneByOne()
    body = DIALECTS[path] | {"model": "m"}

    with (
        FakeProvider(before_chunk=one_by_one.before_chunk, encoding=encoding) as provider,
        httpx.Client(
            verify=offer(offered, proxy.ca_file),
            proxy=proxy.url,
            http2=True,
            trust_env=False,
        ) as client,
        client.stream("POST", provider.url + path, json=body, timeout=60) as answer,
    ):
        for index, _ in enumerate(events(answer)):
            one_by_one.hold(index)

    count = len(one_by_one.history) // 2
    assert count > 3
    assert one_by_one.history == [
        (what, index) for index in range(count) for what in ("sent", "held")
    ]
    assert answer.headers.get("content-encoding", "") == encoding
    assert answer.http_version == to_proxy
    assert provider.asked[0].http_version == to_provider
