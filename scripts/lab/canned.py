"""A provider that looks at nothing: it answers each turn by its name, as fast as it can.

It reads a call's headers and counts the bytes of its body; the reply is made of the turn's name,
so whoever writes a conversation knows beforehand what the model will have said in it. It runs in
a process of its own: `python -m lab.canned [CERTIFICATE KEY]` prints the port, and ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.certificates import Certificates

TURN = b"x-turn"  # the header that names the turn, as 17-3: the fourth of conversation 17
EVENT_STREAM = b"text/event-stream"  # in `accept`: asks for the reply in events
PAUSE_SECONDS = 0.002  # between the events of a stream
PIECE = 25  # characters of text in an event
TOOL = "read_part"
_WORDS = (
    "almanac barley candle dormouse ember falcon gravel harbour inkwell juniper kettle lantern "
    "meadow needle orchard pebble quarry ribbon saddle thimble umbrella velvet walnut yarrow "
    "is was has had took gave left found under over with without before after because unless"
)
_END = b"\r\n\r\n"


class CannedProvider:
    """Serves on loopback while the `with` block lasts; in TLS, if it has certificates."""

    def __init__(self, tls: Certificates | None = None) -> None:
        self._files = [str(tls.certificate), str(tls.key)] if tls else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.canned", *self._files],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()


def tool_id(turn: str) -> str:
    """The id of the tool call in a turn."""
    return f"toolu_{turn.replace('-', 'x'):0>24}"


def content(turn: str) -> list[dict[str, Any]]:
    """What the model says in a turn, which is unlike any other: words, and a tool to be run."""
    said = " ".join(random.Random(turn).choices(_WORDS.split(), k=16))
    wish = {"path": f"notes/part-{turn}.md"}
    return [
        {"type": "text", "text": f"Part {turn}: {said}."},
        {"type": "tool_use", "id": tool_id(turn), "name": TOOL, "input": wish},
    ]


def message(turn: str) -> dict[str, Any]:
    """The whole reply of a turn, as Anthropic's Messages has it."""
    return {
        "id": f"msg_{turn}",
        "type": "message",
        "role": "assistant",
        "model": "claude-bench",
        "content": content(turn),
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 500, "output_tokens": 50},
    }


def events(turn: str) -> Iterator[bytes]:
    """The reply of a turn as server-sent events; the text comes in a few pieces."""
    words, wish = content(turn)
    text, asked = words["text"], json.dumps(wish["input"])
    yield _event("message_start", message=message(turn) | {"content": [], "stop_reason": None})
    yield _event("content_block_start", index=0, content_block=words | {"text": ""})
    for at in range(0, len(text), PIECE):
        piece = {"type": "text_delta", "text": text[at : at + PIECE]}
        yield _event("content_block_delta", index=0, delta=piece)
    yield _event("content_block_stop", index=0)
    yield _event("content_block_start", index=1, content_block=wish | {"input": {}})
    piece = {"type": "input_json_delta", "partial_json": asked}
    yield _event("content_block_delta", index=1, delta=piece)
    yield _event("content_block_stop", index=1)
    yield _event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 50})
    yield _event("message_stop")


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


class _Connection(asyncio.Protocol):
    """One connection; a call is answered as soon as its last byte has come."""

    def __init__(self) -> None:
        self._head = b""
        self._missing = 0
        self._fields: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._fields:
            self._head += data
            head, end, data = self._head.partition(_END)
            if not end:
                return
            self._head = b""
            self._fields = fields(head)
            self._missing = int(self._fields[b"content-length"])
        self._missing -= len(data)
        if self._missing == 0:
            asked, self._fields = self._fields, {}
            self._answer(asked[TURN].decode(), asked.get(b"accept", b""))

    def _answer(self, turn: str, accept: bytes) -> None:
        if accept == EVENT_STREAM:
            self._streaming = asyncio.ensure_future(self._stream(turn))
            return
        body = json.dumps(message(turn)).encode()
        self._transport.write(_head(b"application/json", b"content-length: %d" % len(body)) + body)

    async def _stream(self, turn: str) -> None:
        self._transport.write(_head(EVENT_STREAM, b"transfer-encoding: chunked"))
        for event in events(turn):
            if self._transport.is_closing():  # whoever asked is gone
                return
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(PAUSE_SECONDS)
        self._transport.write(b"0\r\n\r\n")


def fields(head: bytes) -> dict[bytes, bytes]:
    """The headers of a message, without its first line; names in lower case."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


def _head(content_type: bytes, length: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n" % (content_type, length)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    context = None
    if files := sys.argv[1:]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
    server = await loop.create_server(_Connection, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
