"""From bytes to values: what is a call, what is a stream, and that wrong types are no trouble."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Call, Dialect, Reply, Text
from callerid.wire.bodies import BadEncoding
from callerid.wire.parse import PAGE_BYTES, ReplyReader, may_be_call, parse_call, parse_reply
from callerid.wire.wirejson import NotJSON

DIALECTS = pytest.mark.parametrize("dialect", make.PATHS)
SAID = (
    {"system": "Be brief."},
    {"user": "Hello"},
    {"assistant": "Hi!"},
    {"call": {"name": "look", "arguments": {"at": "a"}}},
    {"result": "9"},
)
BODIES = {
    dialect: make.body(dialect, SAID, system="You are a clerk.", tools=["look", "write"])
    for dialect in make.PATHS
}

# Which dialect a request speaks


@DIALECTS
@pytest.mark.parametrize("shape", make.PATHS)
def test_a_call_is_known_by_its_path_and_its_shape(dialect: Dialect, shape: Dialect) -> None:
    alike = {Dialect.ANTHROPIC, Dialect.OPENAI_CHAT}  # both have a list of messages

    call = parse_call(make.PATHS[dialect], make.encoded(BODIES[shape]), make.reader())

    if shape is dialect or {shape, dialect} == alike:
        assert call is not None
        assert call.dialect is dialect
    else:
        assert call is None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        *(("POST", path, True) for path in make.PATHS.values()),
        *(("GET", path, False) for path in make.PATHS.values()),
        ("POST", "/v1/messages?beta=true", True),
        ("POST", "/", False),
        ("POST", "/v1/files", False),
        ("POST", "/search?q=/v1/messages", False),
        ("OPTIONS", "/v1/messages", False),
    ],
)
def test_a_body_is_looked_at_only_where_method_and_path_fit(
    method: str, path: str, expected: bool
) -> None:
    assert may_be_call(method, path) is expected


@DIALECTS
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\x1f\x8b\x08", b"a=1&b=2"])
def test_a_body_that_is_no_json_object_is_not_json(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(NotJSON):
        parse_call(make.PATHS[dialect], body, make.reader())


# Wrong types


@st.composite
def odd_values(draw: st.DrawFn, value: Any) -> Any:
    """A value with one member, at any depth, replaced by any other JSON value."""
    odd = copy.deepcopy(value)
    holder, key = draw(st.sampled_from(list(_places(odd))))
    holder[key] = draw(make.JSON)
    return odd


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@DIALECTS
@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_a_call_or_none(dialect: Dialect, data: st.DataObject) -> None:
    odd = data.draw(odd_values(BODIES[dialect]))

    with suppress(NotJSON):
        call = parse_call(make.PATHS[dialect], make.encoded(odd), make.reader())
        assert call is None or isinstance(call, Call)


@pytest.mark.parametrize("type", ["tool_use", "image"])
def test_nesting_as_deep_as_can_just_be_read_is_read_or_refused(type: str) -> None:
    for depth in range(700, 1_010):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        block = b'{"type":"%s","input":%s}' % (type.encode(), deep)

        with suppress(NotJSON):
            body = b'{"messages":[{"role":"assistant","content":[%s]}]}' % block
            assert parse_call("/v1/messages", body, make.reader())
        assert parse_reply(Dialect.ANTHROPIC, 200, b'{"content":[%s]}' % block, make.reader())


USAGE = {
    "input_tokens": 1,
    "prompt_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 1, "thinking_tokens": 1},
    "prompt_tokens_details": {"cached_tokens": 1},
}
FUNCTION = {"name": "look", "arguments": '{"at": "a"}'}
PARTS = [{"text": "Hi", "thought": False}, {"functionCall": {"name": "look", "args": {"at": "a"}}}]
REPLIES: dict[Dialect, dict[str, Any]] = {
    Dialect.ANTHROPIC: {
        "id": "msg_1",
        "model": "m",
        "content": [
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "look", "input": {"at": "a"}},
        ],
        "stop_reason": "end_turn",
        "usage": USAGE,
        "error": {"type": "e", "message": "m"},
    },
    Dialect.OPENAI_CHAT: {
        "id": "c_1",
        "model": "m",
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "Hi"}],
                    "tool_calls": [{"id": "c", "function": FUNCTION}],
                    "function_call": FUNCTION,
                },
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "error": {"code": 1, "message": "m"},
    },
    Dialect.OPENAI_RESPONSES: {
        "id": "resp_1",
        "status": "completed",
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", **FUNCTION},
            {"type": "shell_call_output", "call_id": "c", "output": {"a": 1}},
        ],
        "usage": USAGE,
        "error": {"code": "e", "message": "m"},
    },
    Dialect.GEMINI: {
        "candidates": [{"content": {"role": "model", "parts": PARTS}, "finishReason": "STOP"}],
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 1},
        "error": {"status": "E", "message": "m"},
        "responseId": "r_1",
    },
}


@DIALECTS
@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_of_a_reply_is_a_reply(
    dialect: Dialect, data: st.DataObject
) -> None:
    odd = data.draw(odd_values(REPLIES[dialect]))

    assert isinstance(make.whole(dialect, odd), Reply)


EVENTS: dict[Dialect, list[dict[str, Any]]] = {
    Dialect.ANTHROPIC: [
        {"type": "message_start", "message": REPLIES[Dialect.ANTHROPIC]},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_delta", "index": 0, "delta": {"citation": {"cited_text": "a"}}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use"}},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": "{}"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
        {"type": "error", "error": {"type": "e", "message": "m"}},
    ],
    Dialect.OPENAI_CHAT: [
        {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": FUNCTION}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]},
        {"choices": [{"delta": {"function_call": FUNCTION}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "Hi"}}], "usage": USAGE},
        {"error": {"code": 1, "message": "m"}},
    ],
    Dialect.OPENAI_RESPONSES: [
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "message", "content": []},
        },
        {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {"type": "function_call", "call_id": "c", **FUNCTION},
        },
        {"type": "error", "code": "e", "message": "m"},
        {"type": "response.completed", "response": {"status": "completed", "usage": USAGE}},
    ],
    Dialect.GEMINI: [
        REPLIES[Dialect.GEMINI],
        {"response": REPLIES[Dialect.GEMINI]},
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
        {"error": {"status": "E", "message": "m"}},
    ],
}


@DIALECTS
@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_of_a_stream_is_a_reply(
    dialect: Dialect, data: st.DataObject
) -> None:
    odd = data.draw(odd_values(EVENTS[dialect]))
    # A lone surrogate is no UTF-8: it comes as an escape.
    stream = make.sse(*(("", json.dumps(event)) for event in odd))

    assert isinstance(make.streamed(dialect, [stream]), Reply)


@DIALECTS
@make.QUICK
@given(
    chunks=st.lists(st.binary(max_size=40) | st.sampled_from([b"data: {", b"}\n\n", b"[DONE]"])),
    content_type=st.sampled_from(["", "text/event-stream", "application/json"]),
    encoding=st.sampled_from(["", "gzip", "zstd, br"]),
    status=st.sampled_from([200, 500]),
)
def test_whatever_bytes_come_they_are_a_reply_or_badly_packed(
    dialect: Dialect, chunks: list[bytes], content_type: str, encoding: str, status: int
) -> None:
    with suppress(BadEncoding):
        reply = make.reply(dialect, chunks, status, content_type, encoding)
        assert isinstance(reply, Reply)


# Whole or streamed

CHAT = Dialect.OPENAI_CHAT
HI = {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}
STREAM = make.sse(("", HI), ("", "[DONE]"))
WHOLE = make.encoded({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("content_type", ["text/event-stream", "Text/Event-Stream; a=b", "", "x/y"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n", b": comment\n\n"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_stream_is_known_by_how_it_begins(content_type: str, start: bytes, end: bytes) -> None:
    stream = start + STREAM.replace(b"\n", end)

    reply = make.reply(CHAT, [stream], content_type=content_type)

    assert [message.parts for message in reply.messages] == [(Text("Hi"),)]
    assert reply.complete


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", ""])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \r\n"])
def test_a_whole_reply_is_known_by_how_it_begins(content_type: str, start: bytes) -> None:
    reply = make.reply(CHAT, [start + WHOLE], content_type=content_type)

    assert [message.parts for message in reply.messages] == [(Text("Hi"),)]
    assert reply.complete


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", ""])
@pytest.mark.parametrize("body", [STREAM, WHOLE, b"\n" + WHOLE], ids=["stream", "whole", "newline"])
@make.QUICK
@given(data=st.data())
def test_a_reply_is_the_same_however_its_bytes_are_cut(
    content_type: str, body: bytes, data: st.DataObject
) -> None:
    whole = make.reply(CHAT, [body], content_type=content_type)

    for chunks in (data.draw(make.chunks(body)), make.bytewise(body)):
        assert make.reply(CHAT, chunks, content_type=content_type) == whole


def test_a_packed_stream_is_unpacked_as_it_comes() -> None:
    packed = make.bytewise(gzip.compress(STREAM))

    reply = make.reply(CHAT, packed, content_type="text/event-stream", encoding="gzip")

    assert reply == make.streamed(CHAT, [STREAM])


def test_a_reply_can_be_asked_for_at_any_time() -> None:
    reading = ReplyReader(CHAT, make.packed("text/event-stream"), make.reader())

    assert reading.reply(200).messages == ()
    reading.feed(STREAM[: STREAM.index(b"data: [DONE]")])
    assert [message.text for message in reading.reply(200).messages] == ["Hi"]
    assert not reading.is_complete
    reading.feed(b"data: [DONE]\n\n")
    assert reading.is_complete
    assert reading.finish(200) == make.streamed(CHAT, [STREAM])


def test_the_last_event_counts_though_its_end_is_missing() -> None:
    assert make.streamed(CHAT, [STREAM.rstrip()]).complete


def test_broken_events_are_skipped_and_counted() -> None:
    reading = ReplyReader(CHAT, make.packed("text/event-stream"), make.reader())

    reading.feed(make.sse(("", "{"), ("", "no JSON")) + STREAM)

    assert reading.finish(200) == make.streamed(CHAT, [STREAM])
    assert reading.broken_events == 2


# Errors


@DIALECTS
def test_a_body_that_is_no_json_is_kept_beside_the_error(dialect: Dialect) -> None:
    page = b"<html>Bad gateway \xff</html>" + b" " * 5000

    reply = parse_reply(dialect, 502, page, make.reader())

    assert (reply.error, reply.complete, reply.messages) == ("http_502", False, ())
    assert reply.error_message.startswith("<html>Bad gateway \ufffd</html>")
    assert len(reply.error_message) <= PAGE_BYTES


@DIALECTS
@pytest.mark.parametrize("body", [b"", b"{}", b'{"error": null}', b'data: {"id": "x"}\n\n'])
def test_a_status_that_says_error_is_one(dialect: Dialect, body: bytes) -> None:
    assert make.reply(dialect, [body], status=503).error == "http_503"


@DIALECTS
def test_an_unknown_encoding_is_refused_at_once(dialect: Dialect) -> None:
    with pytest.raises(BadEncoding, match="rot13"):
        ReplyReader(dialect, make.packed("", "rot13"), make.reader())
