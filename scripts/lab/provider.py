"""A fake LLM provider on loopback: four dialects, HTTP/1.1 and HTTP/2, TLS or not."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hypercorn.asyncio import serve
from hypercorn.config import Config

from lab import app, encodings
from lab.certificates import Certificates, certificates
from lab.exchange import Answer, Asked
from lab.wires import newest_text

_KEEP_ALIVE_SECONDS = 60.0  # longer than any test leaves a connection idle
_BACKLOG = 128
_CLOSE_SECONDS = 0.05


def echo(asked: Asked) -> Answer:
    """A text that no other request of this provider gets, and that says what was asked."""
    return Answer(f"Answer {asked.serial} to: {newest_text(asked)}")


class FakeProvider:
    """Serves in a thread of its own while the `with` block lasts.

    `answer` is called in that thread, `before_chunk` in its event loop before every body message:
    one for each server-sent event, one for a whole reply. `encoding` is gzip, deflate, br or zstd,
    and is used where the client accepts it. With `opens_sockets` it speaks Responses in WebSockets.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Answer] = echo,
        *,
        tls: bool = True,
        before_chunk: app.BeforeChunk | None = None,
        encoding: str = "",
        opens_sockets: bool = False,
    ) -> None:
        encodings.packer(encoding)  # an unknown one is refused here
        self.asked: list[Asked] = []
        self._app = app.Application(
            answer, self.asked, before_chunk or app.at_once, encoding, opens_sockets
        )
        self._tls = tls
        self.port = 0
        self.ca_file: Path = certificates().ca

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        # A socket that listens already: clients may come before the server does.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port = self._socket.getsockname()[1]
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._run, name=f"provider {self.port}")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._app.stopping.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            stopping = self._app.stopping.wait
            config = serving(self._socket, certificates() if self._tls else None)
            runner.run(serve(self._app, config, shutdown_trigger=stopping))  # type: ignore[arg-type]


def serving(listening: socket.socket, tls: Certificates | None) -> Config:
    """How an application is served on a socket, which it takes; in TLS, HTTP/2 as well."""
    config = Config()
    config.bind = f"fd://{listening.detach()}"
    config.errorlog = logging.getLogger(__name__)
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    if tls:
        config.certfile = str(tls.certificate)
        config.keyfile = str(tls.key)
    return config


class _Loop(asyncio.SelectorEventLoop):
    """Does not wait long for clients that leave a connection open and do not look at it."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl"):
            options["ssl_shutdown_timeout"] = _CLOSE_SECONDS  # 30 by default
        return await super().create_server(*args, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report what went wrong, but not that such a client did not say goodbye."""
        if not isinstance(context.get("exception"), TimeoutError):
            super().call_exception_handler(context)
