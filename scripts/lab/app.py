"""The fake provider as an ASGI application: a request in, the answer of its dialect out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from lab import encodings
from lab.exchange import Answer, Asked
from lab.wires import Wire, wire_of

BeforeChunk = Callable[[Asked, int], Awaitable[None]]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NOT_FOUND = {"error": {"type": "not_found_error", "message": "The lab has no such path."}}


async def at_once(asked: Asked, index: int) -> None:
    """Hold nothing back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose chunks are not packed yet."""

    status: int
    content_type: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Application:
    """Notes every request in `asked` before it answers it."""

    answer: Callable[[Asked], Answer]
    asked: list[Asked]
    before_chunk: BeforeChunk
    encoding: str
    opens_sockets: bool
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._exchange(scope, receive, send)
        elif scope["type"] == "websocket" and self.opens_sockets:
            await self._talk(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # a refusal: Codex tries one, then goes on
        else:
            await live(receive, send)

    async def _exchange(self, scope: Message, receive: Receive, send: Send) -> None:
        whole = await body(receive)
        asked = _asked(len(self.asked) + 1, scope, whole)
        self.asked.append(asked)
        sending = self._send(asked, _reply(asked, self.answer), send)
        await _first(sending, _gone(receive), self.stopping.wait())

    async def _talk(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer the `response.create` frames of a WebSocket, each event in a frame."""
        back = [(b"x-request-id", b"req_socket"), (b"set-cookie", b"session=abc; Path=/")]
        await send({"type": "websocket.accept", "headers": back})
        talking = self._answer_frames(scope, receive, send)
        await _first(talking, self.stopping.wait())

    async def _answer_frames(self, scope: Message, receive: Receive, send: Send) -> None:
        wire = wire_of("/responses")
        assert wire is not None
        while (message := await receive())["type"] != "websocket.disconnect":
            frame = message.get("text")
            if frame is None or not _begins_call(frame):
                continue
            asked = _asked(len(self.asked) + 1, {"method": "GET"} | scope, frame.encode())
            self.asked.append(asked)
            for index, event in enumerate(wire.events(asked, self.answer(asked))):
                await self.before_chunk(asked, index)
                data = event.partition(b"data: ")[2].strip().decode()
                await send({"type": "websocket.send", "text": data})

    async def _send(self, asked: Asked, reply: Reply, send: Send) -> None:
        accepted = encodings.accepts(asked.header("accept-encoding"), self.encoding)
        encoding = self.encoding if accepted else ""
        packer = encodings.packer(encoding)
        headers = [(b"content-type", reply.content_type.encode())]
        headers += [(b"content-encoding", encoding.encode())] * bool(encoding)
        headers += [(b"request-id", f"req_{asked.serial:024}".encode())]
        headers += [(b"x-request-id", f"req_{asked.serial:024}".encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for index, chunk in enumerate(reply.chunks):
            await self.before_chunk(asked, index)
            data = packer.piece(chunk)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": packer.end(), "more_body": False})


def _begins_call(frame: str) -> bool:
    try:
        said = json.loads(frame)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("type") == "response.create"


def _reply(asked: Asked, answer: Callable[[Asked], Answer]) -> Reply:
    wire = wire_of(asked.path)
    if wire is None or asked.method != "POST":
        return _json_reply(404, _NOT_FOUND)
    return _dialect_reply(wire, asked, answer(asked))


def _dialect_reply(wire: Wire, asked: Asked, answer: Answer) -> Reply:
    if answer.status >= 400:
        return _json_reply(answer.status, wire.error(asked, answer))
    if wire.streams(asked):
        return Reply(
            answer.status,
            "text/event-stream; charset=utf-8",
            wire.events(asked, answer),
        )
    return _json_reply(answer.status, wire.whole(asked, answer))


def _json_reply(status: int, content: object) -> Reply:
    return Reply(status, "application/json", iter([json.dumps(content).encode()]))


def _asked(serial: int, scope: Message, body: bytes) -> Asked:
    return Asked(
        serial=serial,
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=tuple(
            (key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]
        ),
        body=body,
        http_version=scope["http_version"],
    )


async def body(receive: Receive) -> bytes:
    whole = bytearray()
    while (message := await receive())["type"] == "http.request":
        whole += message["body"]
        if not message["more_body"]:
            break
    return bytes(whole)


async def _gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*works: Coroutine[Any, Any, object]) -> None:
    """Do the works until one is done; leave the others."""
    tasks = [asyncio.create_task(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*done)  # raises what a work raised


async def live(receive: Receive, send: Send) -> None:
    """Say yes to the server's lifespan events; there is nothing to set up."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
