"""Replies as we read them beside what the vendors' own clients make of the same bytes.

The streams are recorded ones, in shared/corpora beside the checkout; without them there is nothing
to compare. Each is read whole, and cut in two at byte after byte: where it is cut never matters.
"""

from __future__ import annotations

import base64
import importlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import make
from callerid.turn import Dialect, Reply, Role, Text, ToolCall
from callerid.wire import eventstream, wirejson
from callerid.wire.parse import ReplyReader, parse_call
from lab import exchanges
from lab.exchanges import Exchange

FOLDER = Path(__file__).parents[2] / "shared"
SEED = 8
PLACES = 8  # at which a stream is cut, of those that are only sampled
WHOLLY = 3  # streams of each wire format that are cut at every byte
MOST_BYTES = 6_000  # of those
QUESTION: Any = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Said(NamedTuple):
    """What both of us read; None is nothing."""

    text: str
    tools: list[tuple[str, object]]
    stop_reason: str | None
    model: str | None
    id: str | None
    input_tokens: int | None
    output_tokens: int | None


@pytest.fixture(scope="module")
def recorded() -> list[Exchange]:
    """Streams that came with status 200 and are cut off nowhere."""
    files = exchanges.files_in(FOLDER)
    if not files:
        pytest.skip(f"there are no recorded exchanges: {FOLDER / exchanges.PART} is missing")
    return [each for each in exchanges.exchanges(files) if each["streaming"] is True]


def body_of(exchange: Exchange) -> bytes:
    said: str = exchange["response_body"]
    return base64.b64decode(said) if exchange["response_encoding"] == "base64" else said.encode()


def dialect_of(exchange: Exchange) -> Dialect:
    asked = json.dumps(exchange["request_body"]).encode()
    call = parse_call(exchange["path"], asked, make.reader())
    assert call is not None
    return call.dialect


def reading(dialect: Dialect, exchange: Exchange, *chunks: bytes) -> Reply:
    packed = make.packed(exchange["response_headers"].get("Content-Type", ""))
    reader = ReplyReader(dialect, packed, make.reader())
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish(exchange["status"])


def ours(exchange: Exchange) -> Said:
    reply = reading(dialect_of(exchange), exchange, body_of(exchange))
    said = [message for message in reply.messages if message.role is Role.ASSISTANT]
    parts = [part for message in said for part in message.parts]
    return Said(
        "".join(part.text for part in parts if isinstance(part, Text)),
        [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)],
        reply.stop_reason or None,
        reply.model or None,
        reply.response_id or None,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )


# The vendors' clients


def client_of(sdk: str, name: str, body: bytes) -> Any:
    """A vendor's client that gets these bytes as a stream, whatever it asks for."""
    vendor = importlib.import_module(sdk)
    base = next(c for c in vendor.DefaultHttpxClient.__mro__ if c.__module__.startswith("httpx"))
    httpx = importlib.import_module(base.__module__.partition(".")[0])
    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=body))
    http_client = vendor.DefaultHttpxClient(transport=transport)
    return getattr(vendor, name)(api_key="k", http_client=http_client, max_retries=0)


def anthropics(body: bytes) -> Said:
    client = client_of("anthropic", "Anthropic", body)
    with client.messages.stream(max_tokens=9, **QUESTION) as stream:
        message = stream.get_final_message()
    blocks = message.content
    return Said(
        "".join(block.text for block in blocks if block.type == "text"),
        [(block.name, block.input) for block in blocks if block.type == "tool_use"],
        message.stop_reason,
        message.model or None,
        message.id,
        message.usage.input_tokens,
        message.usage.output_tokens,
    )


def chats(body: bytes) -> Said:
    state_of = importlib.import_module("openai.lib.streaming.chat").ChatCompletionStreamState
    client = client_of("openai", "OpenAI", body)
    state = state_of()
    for chunk in client.chat.completions.create(stream=True, **QUESTION):
        state.handle_chunk(chunk)
    whole = state.current_completion_snapshot
    choice = whole.choices[0] if whole.choices else None
    said = choice.message if choice else None
    asked = [call.function for call in said.tool_calls or []] if said else []
    return Said(
        ((said.content or "") + (said.refusal or "")) if said else "",
        [(each.name, _arguments(each.arguments)) for each in asked],
        choice.finish_reason if choice else None,
        whole.model or None,
        whole.id or None,
        whole.usage.prompt_tokens if whole.usage else None,
        whole.usage.completion_tokens if whole.usage else None,
    )


def responses(body: bytes) -> Said:
    client = client_of("openai", "OpenAI", body)
    ends = ("response.completed", "response.incomplete", "response.failed")
    events = list(client.responses.create(model="m", input="Hi", stream=True))
    whole = next(event.response for event in events if event.type in ends)
    asked = [each for each in whole.output if each.type == "function_call"]
    return Said(
        whole.output_text,
        [(each.name, _arguments(each.arguments)) for each in asked],
        whole.status,
        whole.model or None,
        whole.id,
        whole.usage.input_tokens if whole.usage else None,
        whole.usage.output_tokens if whole.usage else None,
    )


def _arguments(written: str | None) -> object:
    return wirejson.decode_or_text(written) if written else {}


CLIENTS: dict[str, Callable[[bytes], Said]] = {
    "anthropic": anthropics,
    "openai-chat": chats,
    "openai-responses": responses,
}


# What the clients make of some streams, and why that is no measure for us.
NO_MEASURE = {
    "test_tools_streaming_variant_a": "the name of a tool comes in two chunks, and theirs is both",
    "writer_async_streaming_chat_tool_call_request": "the first chunk has no delta: they fail",
    "writer_async_streaming_chat_multiple_tool_call": "the first chunk has no delta: they fail",
    "test_tool_use_failed_error_streaming": "an error comes as an event: they raise it",
    "test_openrouter_stream_error": "an error comes as an event: they raise it",
    "test_openrouter_web_search_annotations_stream": "a list without indexes: they fail",
}
LEAST = {"anthropic": 60, "openai-chat": 300, "openai-responses": 100}


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # openai's, of what others send
@pytest.mark.parametrize("wire", CLIENTS)
def test_streams_are_read_as_the_vendors_own_client_reads_them(
    recorded: list[Exchange], wire: str
) -> None:
    """All that they know; they leave out what is told late or where they do not look for it."""
    read, differing = 0, []
    for exchange in recorded:
        is_measure = not any(part in exchange["source"] for part in NO_MEASURE)
        if exchange["wire"] == wire and exchange["status"] == 200 and is_measure:
            theirs, we = CLIENTS[wire](body_of(exchange)), ours(exchange)
            read += 1
            pairs = zip(Said._fields, theirs, we, strict=True)
            wrong = [each for each in pairs if each[1] is not None and each[1] != each[2]]
            differing += [(exchange["source"], wrong)] if wrong else []

    assert read >= LEAST[wire]
    assert not differing


def test_frames_are_read_as_botocore_reads_them(recorded: list[Exchange]) -> None:
    botocore = importlib.import_module("botocore.eventstream")
    frames = 0
    for exchange in recorded:
        if exchange["response_encoding"] != "base64":
            continue
        buffer = botocore.EventStreamBuffer()
        buffer.add_data(body_of(exchange))
        theirs = [(frame.headers, frame.payload) for frame in buffer]
        read = eventstream.Parser().feed(body_of(exchange))
        assert len(read) == len(theirs)
        for event, (headers, payload) in zip(read, theirs, strict=True):
            frames += 1
            if headers[":event-type"] == "chunk":
                inside = base64.b64decode(json.loads(payload)["bytes"])
                assert (event.name, event.data) == ("", inside)
            else:
                assert (event.name, event.data) == (headers[":event-type"], payload)

    assert frames > 1_000


# Cut anywhere


def places(body: bytes, chance: random.Random, *, wholly: bool) -> Iterator[int]:
    if wholly:
        yield from range(1, len(body))
    else:
        yield from (chance.randrange(1, len(body)) for _ in range(PLACES))


def test_where_a_stream_is_cut_never_matters(recorded: list[Exchange]) -> None:
    chance = random.Random(SEED)
    seen: dict[str, int] = {}
    cuts = 0
    for exchange in recorded:
        body, wire = body_of(exchange), exchange["wire"]
        wholly = len(body) <= MOST_BYTES and seen.get(wire, 0) < WHOLLY
        seen[wire] = seen.get(wire, 0) + wholly
        dialect = dialect_of(exchange)
        whole = reading(dialect, exchange, body)
        for place in places(body, chance, wholly=wholly):
            cuts += 1
            cut = reading(dialect, exchange, body[:place], body[place:])
            assert cut == whole, f"{exchange['source']} at byte {place}"
    assert cuts > 10_000
    assert len(seen) > 8
