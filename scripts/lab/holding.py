"""An upstream that holds its streams back after their first event, until it is told to go on.

It speaks HTTP/1.1, or with certificates HTTP/2 in TLS, in a process of its own: `python -m
lab.holding [CA CERTIFICATE KEY]` prints the port; a line lets all streams go on, and it ends with
its standard input. No two streams are alike: each says the number that its request names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypercorn.asyncio import serve

from lab import canned
from lab.app import Message, Receive, Send, body, live
from lab.certificates import Certificates
from lab.load import Wrong
from lab.provider import serving

WAITING = 4096  # connections that are not accepted yet
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_END = b"\r\n\r\n"
_NUMBER = b"<number>"


def _event(name: str, **said: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **said})}\n\n".encode()


_FIRST = _event("message_start", message={"id": "<number>", "role": "assistant", "content": [],
                "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}})  # fmt: skip
_REST = b"".join((
    _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(_event("content_block_delta", index=0,
             delta={"type": "text_delta", "text": f"word {n} of <number> "}) for n in range(20)),
    _event("content_block_stop", index=0),
    _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 40}),
    _event("message_stop"),
))  # fmt: skip


def first(number: bytes) -> bytes:
    """The first event of a stream; the reply's id is its number."""
    return _FIRST.replace(_NUMBER, number)


def rest(number: bytes) -> bytes:
    """What comes when the upstream goes on."""
    return _REST.replace(_NUMBER, number)


@contextlib.contextmanager
def upstream(tls: Certificates | None = None) -> Iterator[tuple[int, Callable[[], None]]]:
    """The port of an upstream that holds its streams back, and how to let them go on."""
    files = [str(tls.ca), str(tls.certificate), str(tls.key)] if tls else []
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.holding", *files], cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout

    def go_on() -> None:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]

    try:
        port = process.stdout.readline()
        if not port:
            raise Wrong("the upstream did not start")
        yield int(port), go_on
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class _Holding:
    """The upstream, once for HTTP/1.1 and once as an ASGI application."""

    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            said = canned.fields((await reader.readuntil(_END))[: -len(_END)])
            await reader.readexactly(int(said[b"content-length"]))
            writer.write(HEAD + first(said[canned.TURN]))
            await self.may_go_on.wait()
            writer.write(rest(said[canned.TURN]))
            await writer.drain()
        writer.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        await body(receive)
        number = dict(scope["headers"])[canned.TURN]
        fields = [(b"content-type", canned.EVENT_STREAM)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": first(number), "more_body": True})
        await self.may_go_on.wait()
        return await send({"type": "http.response.body", "body": rest(number), "more_body": False})


async def _serve(tls: Certificates | None) -> None:
    holding = _Holding()
    listening = socket.create_server(("127.0.0.1", 0), backlog=WAITING)
    print(listening.getsockname()[1], flush=True)
    if tls:
        never = asyncio.Event().wait
        server = serve(holding, serving(listening, tls), shutdown_trigger=never)  # type: ignore[arg-type]
    else:
        plain = await asyncio.start_server(holding.answer, sock=listening, backlog=WAITING)
        server = plain.serve_forever()
    running = asyncio.ensure_future(server)
    if await asyncio.to_thread(sys.stdin.readline):
        holding.may_go_on.set()
        await asyncio.to_thread(sys.stdin.read)
    running.cancel()


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    asyncio.run(_serve(Certificates(*paths) if paths else None))
