"""Bedrock InvokeModel and CountTokens: whose dialect a body is, and replies in its frames."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Call, Dialect, Kind, Stood, Text, ToolCall, Usage
from callerid.wire import wirejson
from callerid.wire.dialects.bedrock_invoke import usage_in
from callerid.wire.parse import ReplyReader, parse_call
from test_eventstream import chunk, exception

AWS = "application/vnd.amazon.eventstream"
CLAUDE: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 9,
    "system": "Be brief.",
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": "Hello"}],
}
NOVA = {
    "system": [{"text": "Be brief."}],
    "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}
BODIES: dict[str, tuple[dict[str, Any], Dialect, Kind]] = {
    "Claude": (CLAUDE, Dialect.ANTHROPIC, Kind.MAIN),
    "Nova": (NOVA, Dialect.BEDROCK_CONVERSE, Kind.MAIN),
    "gpt-oss": (CHAT, Dialect.OPENAI_CHAT, Kind.MAIN),
    "Command R": ({"message": "Hello"}, Dialect.COHERE_V1, Kind.MAIN),
    "Titan": ({"inputText": "Hello", "textGenerationConfig": {}}, Dialect.COMPLETIONS, Kind.MAIN),
    "Titan, plain": ({"inputText": "Hello"}, Dialect.COMPLETIONS, Kind.MAIN),
    "Llama": ({"prompt": "Hello", "max_gen_len": 9}, Dialect.COMPLETIONS, Kind.MAIN),
    "Titan vectors": ({"inputText": "Hello", "normalize": True}, Dialect.EMBEDDINGS,
                      Kind.EMBEDDING),
    "Cohere vectors": ({"texts": ["Hello"], "input_type": "search_query"}, Dialect.EMBEDDINGS,
                       Kind.EMBEDDING),
    "Nova vectors": (
        {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"text": {"value": "Hello"}}},
        Dialect.EMBEDDINGS,
        Kind.EMBEDDING,
    ),
}  # fmt: skip


# Calls


@pytest.mark.parametrize(("body", "dialect", "kind"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("operation", "streams"), [("invoke", False), ("invoke-with-response-stream", True)]
)
def test_a_body_is_read_by_its_makers_dialect(
    body: dict[str, Any], dialect: Dialect, kind: Kind, operation: str, streams: bool
) -> None:
    call = make.read(f"/model/arn%3Aaws%3Abedrock%3A%3A%3Aprofile%2Fp/{operation}", body)

    assert (call.dialect, call.kind) == (dialect, kind)
    assert (call.model, call.streams) == ("arn:aws:bedrock:::profile/p", streams)
    assert [message.text for message in call.messages] == ["Hello"]


def test_titan_is_asked_alike_for_texts_and_for_vectors() -> None:
    call = make.read("/model/amazon.titan-embed-text-v1/invoke", {"inputText": "Hello"})

    assert (call.dialect, call.kind) == (Dialect.EMBEDDINGS, Kind.EMBEDDING)


def test_what_claude_is_asked_is_read_whole() -> None:
    call = make.read("/model/anthropic.claude-x/invoke", CLAUDE)

    assert (call.system, call.tools) == ("Be brief.", ("look",))
    assert dict(call.members)["messages"] is Stood.MESSAGES


@pytest.mark.parametrize("body", [{}, {"taskType": "TEXT_IMAGE"}, {"messages": 7}])
def test_a_body_that_nobody_knows_is_no_call(body: dict[str, Any]) -> None:
    assert parse_call("/model/m/invoke", make.encoded(body), make.reader()) is None


# Counts

COUNT = "/model/vendor.model-v1%3A0/count-tokens"
PACKED = base64.b64encode(make.encoded(CLAUDE)).decode()


@pytest.mark.parametrize(
    "input",
    [{"converse": NOVA}, {"invokeModel": {"body": PACKED}}],
    ids=["Converse", "InvokeModel"],
)
def test_tokens_are_counted_of_either_body(input: dict[str, Any]) -> None:
    call = make.read(COUNT, {"input": input})

    assert (call.dialect, call.kind) == (Dialect.BEDROCK_CONVERSE, Kind.COUNT_TOKENS)
    assert (call.model, call.system, call.streams) == ("vendor.model-v1:0", "Be brief.", False)
    assert [message.text for message in call.messages] == ["Hello"]
    assert call.members == (("input", make.encoded(input)),)
    assert make.whole(call.dialect, {"inputTokens": 11}).usage.input_tokens == 11


@pytest.mark.parametrize("body", ["a", "", "bm8gSlNPTg==", "e30=", "é", 7])
def test_a_packed_body_that_is_none_is_no_json(body: object) -> None:
    packed = {"input": {"invokeModel": {"body": body}}}

    with pytest.raises(wirejson.NotJSON):
        parse_call(COUNT, make.encoded(packed), make.reader())


@make.QUICK
@given(make.JSON)
def test_anything_else_to_be_counted_is_no_call_or_none(value: Any) -> None:
    for body in ({"input": value}, {"input": {"converse": value}}):
        assert parse_call(COUNT, make.encoded(body), make.reader()) is None


# Replies

HEADERS = (
    ("X-Amzn-Bedrock-Input-Token-Count", "11"),
    ("x-amzn-bedrock-output-token-count", "12"),
    ("x-amzn-bedrock-cache-read-input-token-count", "5"),
    ("x-amzn-bedrock-cache-write-input-token-count", "6"),
    ("x-amzn-bedrock-invocation-latency", "300"),
)


def replied(body: bytes, headers: tuple[tuple[str, str], ...] = HEADERS) -> Usage:
    reading = ReplyReader(Dialect.COMPLETIONS, headers, make.reader())
    reading.feed(body)
    return reading.finish(200).usage


def test_what_the_body_does_not_count_the_headers_do() -> None:
    usage = replied(b'{"outputs": [{"text": "Hi"}]}')

    assert usage == Usage(11, 12, 5, 6, cache_is_apart=True, raw=usage.raw)
    assert b'"input":11' in usage.raw


def test_what_the_body_counts_stays() -> None:
    assert replied(b'{"generation": "Hi", "prompt_token_count": 7}').input_tokens == 7


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "١", "9" * 5000])
def test_a_header_that_is_no_count_is_none(value: str) -> None:
    assert usage_in((("x-amzn-bedrock-input-token-count", value),)) == Usage()


EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "usage": {}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_start", "index": 1,
     "content_block": {"type": "tool_use", "id": "t", "name": "look", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"at":"a"}'}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1}},
)  # fmt: skip


@make.QUICK
@given(st.data())
def test_claudes_events_come_in_chunks(data: st.DataObject) -> None:
    stream = b"".join(map(chunk, EVENTS))
    chunks = data.draw(make.chunks(stream))

    reply = make.reply(Dialect.ANTHROPIC, chunks, content_type=AWS)

    assert reply.messages[0].parts == (Text("Hi"), ToolCall("t", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.usage.output_tokens) == ("tool_use", 2)
    assert reply.complete


def test_an_exception_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    stream = b"".join(map(chunk, EVENTS[:3])) + exception("modelStreamErrorException", "Sorry")

    reply = make.reply(Dialect.ANTHROPIC, [stream], content_type=AWS)

    assert (reply.error, reply.error_message) == ("modelStreamErrorException", "Sorry")
    assert [message.text for message in reply.messages] == ["Hi"]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_exception_is_an_error_in_each_dialect(dialect: Dialect) -> None:
    reply = make.reply(dialect, [exception("throttlingException", "Slow down")], content_type=AWS)

    if dialect not in (Dialect.GEMINI, Dialect.EMBEDDINGS):  # never in frames
        assert (reply.error, reply.error_message) == ("throttlingException", "Slow down")
    assert not reply.complete


def test_a_chat_in_chunks_is_complete_with_what_was_measured() -> None:
    hi = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    last = {"choices": [], "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1}}

    begun = make.reply(Dialect.OPENAI_CHAT, [chunk(hi)], content_type=AWS)
    whole = make.reply(Dialect.OPENAI_CHAT, [chunk(hi), chunk(last)], content_type=AWS)

    assert (begun.complete, whole.complete) == (False, True)
    assert whole.messages[0].text == "Hi"


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_a_call_or_none(data: st.DataObject) -> None:
    body, _, _ = data.draw(st.sampled_from(list(BODIES.values())))
    field = data.draw(st.sampled_from(sorted(body)))

    call = parse_call(
        "/model/m/invoke", make.encoded(body | {field: data.draw(make.JSON)}), make.reader()
    )

    assert call is None or isinstance(call, Call)
