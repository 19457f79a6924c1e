"""Builders that several tests share: requests, calls, replies, streams, with sensible defaults.

What is said is told as in the stories: `[{"user": "Hello"}, {"assistant": "Hi!"}]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import hypothesis
from hypothesis import strategies as st
from msgspec.structs import replace

import story
from callerid.settings.load import load
from callerid.turn import Call, Client, Dialect, HeaderList, Message, Reply, Request
from callerid.wire import canonical, parse, wirejson
from callerid.wire.messages import MessageReader
from callerid.wire.parse import ReplyReader

PATHS = story.PATHS
INJECTED = canonical.injected_pattern(block.tag for block in load().clients.injected_blocks)
QUICK = hypothesis.settings(max_examples=100, deadline=None)
THOROUGH = hypothesis.settings(max_examples=400, deadline=None)
HELLO = ({"user": "Hello"},)

# Any JSON at all, in small; half a character (a lone surrogate) is in clients' JSON now and then.
WORDS = st.text(max_size=8) | st.sampled_from(["\ud800", "a\udfff"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def reader() -> MessageReader:
    """A reader that has read nothing, and knows the blocks that clients inject."""
    return MessageReader(INJECTED)


def encoded(value: Any) -> bytes:
    """A body as it goes over the wire."""
    return json.dumps(value).encode()


def body(
    dialect: Dialect,
    said: Iterable[dict[str, Any]] = HELLO,
    system: str = "",
    tools: Iterable[str] = (),
) -> dict[str, Any]:
    """The body of a call."""
    return story._BODIES[dialect](system, list(tools), list(said))


def call(
    dialect: Dialect,
    said: Iterable[dict[str, Any]] = HELLO,
    system: str = "",
    tools: Iterable[str] = (),
) -> Call:
    """A call, as parsed."""
    return read(PATHS[dialect], body(dialect, said, system, tools))


def read(path: str, body: dict[str, Any]) -> Call:
    """The call that a body makes at a path."""
    call = parse.parse_call(path, encoded(body), reader())
    assert call is not None, f"{path} was not recognised"
    return call


def messages(dialect: Dialect, *said: dict[str, Any]) -> tuple[Message, ...]:
    """The messages of a history."""
    return call(dialect, said).messages


def request(
    body: dict[str, Any],
    path: str = PATHS[Dialect.ANTHROPIC],
    headers: HeaderList = (),
    host: str = "llm.example",
) -> Request:
    """A request, as it came."""
    return Request("POST", "https", host, 443, path, headers, encoded(body), Client())


def sse(*events: tuple[str, Any]) -> bytes:
    """A stream of events (name, data): "" is no name, and data that is no text becomes JSON."""
    written = []
    for name, data in events:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        written.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
    return "".join(written).encode()


def packed(content_type: str = "", encoding: str = "") -> HeaderList:
    """The headers of a reply that say how it is framed and packed; "" is none."""
    said = (("Content-Type", content_type), ("Content-Encoding", encoding))
    return tuple(pair for pair in said if pair[1])


def reply(
    dialect: Dialect,
    chunks: Iterable[bytes],
    status: int = 200,
    content_type: str = "",
    encoding: str = "",
) -> Reply:
    """The reply that some bytes make, read as they come."""
    reading = ReplyReader(dialect, packed(content_type, encoding), reader())
    for chunk in chunks:
        reading.feed(chunk)
    return reading.finish(status)


def streamed(dialect: Dialect, chunks: Iterable[bytes], status: int = 200) -> Reply:
    """The reply that a stream of events makes."""
    return reply(dialect, chunks, status, content_type="text/event-stream; charset=utf-8")


def whole(dialect: Dialect, body: Any, status: int = 200) -> Reply:
    """The reply that an unstreamed body makes."""
    return reply(dialect, [encoded(body)], status, content_type="application/json")


def unordered(reply: Reply) -> Reply:
    """A reply with its JSON sorted, to compare replies whose members came in other orders."""

    def ordered(raw: bytes) -> bytes:
        return raw and wirejson.encode_sorted(wirejson.decode(raw))

    return replace(
        reply,
        usage=replace(reply.usage, raw=ordered(reply.usage.raw)),
        messages=tuple(replace(message, raw=ordered(message.raw)) for message in reply.messages),
    )


def pieces(text: str, size: int) -> list[str]:
    """A text in pieces of a size, as models write it."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def chunks(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Every way to cut some bytes into chunks."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    return places.map(
        lambda cuts: [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
    )


def bytewise(data: bytes) -> list[bytes]:
    """Some bytes, one by one."""
    return [data[at : at + 1] for at in range(len(data))]
