"""Anthropic Messages: calls, and replies whole and streamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import (
    Call,
    Dialect,
    Kind,
    Opaque,
    Part,
    Reply,
    Role,
    Stood,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from callerid.wire.parse import parse_call

DIALECT = Dialect.ANTHROPIC
BODY: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hello"}],
}


def read(path: str = "/v1/messages", **members: Any) -> Call:
    return make.read(path, BODY | members)


def parts(*content: Any, role: str = "user") -> tuple[Part, ...]:
    (message,) = read(messages=[{"role": role, "content": list(content)}]).messages
    return message.parts


# Calls


@pytest.mark.parametrize(
    ("path", "model", "kind"),
    [
        ("/v1/messages", "claude-x", Kind.MAIN),
        ("/v1/messages/", "claude-x", Kind.MAIN),
        ("/v1/messages?beta=true", "claude-x", Kind.MAIN),
        ("/anthropic/v1/messages", "claude-x", Kind.MAIN),
        ("/v1/account/gateway/anthropic/v1/messages", "claude-x", Kind.MAIN),
        ("/messages", "claude-x", Kind.MAIN),
        ("/v1/messages/count_tokens?beta=true", "claude-x", Kind.COUNT_TOKENS),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-y@1:rawPredict",
            "claude-y@1",
            Kind.MAIN,
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-y@1:streamRawPredict",
            "claude-y@1",
            Kind.MAIN,
        ),
    ],
)
def test_a_call_is_known_at_each_path(path: str, model: str, kind: Kind) -> None:
    call = read(path)

    assert (call.dialect, call.model, call.kind) == (DIALECT, model, kind)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches",
        "/v1/messages/msg_1",
        "/v1/xmessages",
        "/v1/models",
        "/api/claude_code/settings",
        "/",
        "?/v1/messages",
    ],
)
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


@pytest.mark.parametrize("messages", [None, "Hello", {"role": "user"}, 7])
def test_a_body_without_a_list_of_messages_is_no_call(messages: object) -> None:
    body = make.encoded(BODY | {"messages": messages})

    assert parse_call("/v1/messages", body, make.reader()) is None
    assert parse_call("/v1/messages", b'{"model": "m"}', make.reader()) is None


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, ""),
        ("Be brief.", "Be brief."),
        ([], ""),
        ([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
         "Be brief.\nBe kind."),
    ],
)  # fmt: skip
def test_the_system_prompt_is_a_text_or_a_list_of_texts(system: object, expected: str) -> None:
    assert read(system=system).system == expected


def test_tools_are_named_in_the_order_sent() -> None:
    tools = [
        {"name": "write", "input_schema": {"type": "object"}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "mcp_toolset", "mcp_server_name": "m"},
    ]

    assert read(tools=tools).tools == ("write", "web_search", "mcp_toolset")


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), (False, False), (None, False), ("true", False)]
)
def test_only_true_asks_for_a_stream(stream: object, streams: bool) -> None:
    assert read(stream=stream).streams is streams
    assert not read().streams


def test_messages_have_the_roles_that_they_say() -> None:
    said = [{"role": role, "content": "x"} for role in ("user", "assistant", "system", "other")]

    assert [message.role for message in read(messages=said).messages] == [
        Role.USER,
        Role.ASSISTANT,
        Role.SYSTEM,
        Role.USER,
    ]


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}


def test_content_is_text_tool_calls_results_and_other_things() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "a"}}

    assert parts({"type": "text", "text": "Hi"}, use, role="assistant") == (
        Text("Hi"),
        ToolCall("toolu_1", "look", {"at": "a"}),
    )
    (image,) = parts(IMAGE)
    assert isinstance(image, Opaque)
    assert image.type == "image"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("9", "9"),
        ([{"type": "text", "text": "9"}, {"type": "text", "text": "10"}], "9\n10"),
        ([], ""),
        (None, ""),
    ],
)
def test_a_result_is_the_text_of_its_content(content: object, expected: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}

    assert parts(result) == (ToolResult("toolu_1", expected),)


def test_results_that_are_other_pictures_are_other_results() -> None:
    one, other = (
        parts({"type": "tool_result", "tool_use_id": "t", "content": [{**IMAGE, "source": source}]})
        for source in ("a", "b")
    )

    assert one != other


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {}},
    ],
    ids=lambda block: block["type"],
)
def test_thinking_and_what_the_server_does_by_itself_is_not_said(block: dict[str, Any]) -> None:
    text = {"type": "text", "text": "Hi"}

    assert parts(block, text, role="assistant") == (Text("Hi"),)


@pytest.mark.parametrize(
    ("diagnostics", "expected"),
    [({"previous_message_id": "msg_1"}, "msg_1"), ({"previous_message_id": None}, ""), (None, "")],
)
def test_a_call_may_name_the_reply_before_it(diagnostics: object, expected: str) -> None:
    assert read(diagnostics=diagnostics).previous_response_id == expected
    assert read().previous_response_id == ""


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    call = read(system="Be brief.", tools=[{"name": "look"}], metadata={"user_id": "u"})

    assert call.members == (
        ("model", b'"claude-x"'),
        ("max_tokens", b"9"),
        ("messages", Stood.MESSAGES),
        ("system", Stood.SYSTEM),
        ("tools", Stood.TOOLS),
        ("metadata", b'{"user_id": "u"}'),
    )
    assert (call.system_raw, call.tools_raw) == (b'"Be brief."', b'[{"name": "look"}]')
    assert call.member("metadata") == b'{"user_id": "u"}'
    assert call.messages[0].raw == b'{"role": "user", "content": "Hello"}'


# Replies

USAGE: dict[str, Any] = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 12,
    "cache_read_input_tokens": 13,
    "output_tokens": 14,
    "output_tokens_details": {"thinking_tokens": 5},
    "service_tier": "standard",
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-1",
    "content": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "a", "n": [1, 2]}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(DIALECT, MESSAGE)

    assert [message.role for message in reply.messages] == [Role.ASSISTANT]
    assert reply.messages[0].parts == (
        Text("I look."),
        ToolCall("toolu_1", "look", {"at": "a", "n": [1, 2]}),
    )
    assert (reply.stop_reason, reply.model) == ("tool_use", "claude-x-1")
    assert (reply.response_id, reply.error, reply.complete) == ("msg_1", "", True)


def test_tokens_are_as_the_provider_counts_them() -> None:
    usage = make.whole(DIALECT, MESSAGE).usage

    assert usage == Usage(11, 14, 13, 12, 5, cache_is_apart=True, raw=usage.raw)
    assert b'"service_tier":"standard"' in usage.raw


def test_what_was_written_for_an_hour_is_told_and_totals_hold_the_cache() -> None:
    hour = {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 10}}
    usage = make.whole(DIALECT, MESSAGE | {"usage": USAGE | hour}).usage

    assert usage.cache_creation_1h_input_tokens == 10
    assert (usage.total_input_tokens, usage.total_output_tokens) == (11 + 13 + 12, 14)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}, {"input_tokens": "9"}, 7])
def test_tokens_that_are_not_counted_are_unknown(usage: object) -> None:
    read = make.whole(DIALECT, MESSAGE | {"usage": usage}).usage

    assert (read.input_tokens, read.output_tokens, read.reasoning_tokens) == (None, None, None)


def test_a_reply_that_says_nothing_has_no_message() -> None:
    assert make.whole(DIALECT, MESSAGE | {"content": []}).messages == ()


def test_an_error_is_the_providers_word() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    reply = make.whole(DIALECT, error, status=529)

    assert (reply.error, reply.error_message) == ("overloaded_error", "Overloaded")
    assert reply.messages == ()


# Streams


def events(message: dict[str, Any], size: int = 3) -> list[tuple[str, dict[str, Any]]]:
    """A message as the provider streams it, its texts in pieces of a size."""
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        start, deltas = _block(block, size)
        told.append({"type": "content_block_start", "index": index, "content_block": start})
        told += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        told.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    counted = {"output_tokens": usage["output_tokens"], "input_tokens": None}
    told.append({"type": "message_delta", "delta": stop, "usage": counted})
    told.append({"type": "message_stop"})
    return [(data["type"], data) for data in told]


def _block(block: dict[str, Any], size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a block begins with, and its deltas."""
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": p} for p in make.pieces(block["text"], size)]
        return {**block, "text": ""}, deltas
    if block["type"] == "thinking":
        thought = make.pieces(block["thinking"], size)
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in thought]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    asked = make.pieces(make.encoded(block["input"]).decode(), size)
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *asked]]
    return {**block, "input": {}}, deltas


def streamed(*events: tuple[str, Any], status: int = 200) -> Reply:
    return make.streamed(DIALECT, [make.sse(*events)], status)


WORDS = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(st.text(max_size=5), make.JSON, max_size=3)
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, WORDS),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, WORDS),
    st.builds(
        lambda name, asked: {"type": "tool_use", "id": "toolu_1", "name": name, "input": asked},
        WORDS,
        ARGUMENTS,
    ),
)


@make.QUICK
@given(data=st.data(), content=st.lists(BLOCKS, min_size=1, max_size=4), size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, content: list[dict[str, Any]], size: int
) -> None:
    message = MESSAGE | {"content": content}
    stream = make.sse(*events(message, size))
    chunks = data.draw(make.chunks(stream))

    whole = make.unordered(make.whole(DIALECT, message))

    assert make.unordered(make.streamed(DIALECT, chunks)) == whole
    assert make.unordered(make.streamed(DIALECT, make.bytewise(stream))) == whole


@pytest.mark.parametrize("count", range(len(events(MESSAGE, 20))))
def test_a_stream_that_breaks_off_is_not_complete(count: int) -> None:
    told = events(MESSAGE, 20)

    reply = streamed(*told[:count])

    assert not reply.complete
    assert streamed(*told).complete


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    told = events(MESSAGE | {"content": MESSAGE["content"][1:]}, 4)
    arguments = next(
        at for at, (_, data) in enumerate(told) if "partial_json" in data.get("delta", {})
    )

    reply = streamed(*told[: arguments + 3])

    assert reply.messages[0].parts == (Text("I look."), ToolCall("toolu_1", "look", '{"at": "'))
    assert (reply.stop_reason, reply.model, reply.response_id) == ("", "claude-x-1", "msg_1")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 1)


def test_a_call_without_arguments_has_none() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    told = [event for event in events(MESSAGE | {"content": [use]}) if "delta" not in event[0]]

    assert streamed(*told).messages[0].parts == (ToolCall("toolu_1", "look", {}),)


def test_an_error_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    text = [{"type": "text", "text": "I look."}]
    told = events(MESSAGE | {"content": text}, 20)[:4]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    reply = streamed(*told, ("error", error))

    assert (reply.error, reply.error_message) == ("overloaded_error", "Overloaded")
    assert reply.messages[0].text == "I look."
    assert not reply.complete


def test_an_error_instead_of_a_stream_is_read() -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}

    reply = make.streamed(DIALECT, [make.encoded(error)], status=429)

    assert (reply.error, reply.error_message) == ("rate_limit_error", "Slow down")


def test_events_are_known_by_their_type_or_else_their_name() -> None:
    told = events(MESSAGE)
    nameless = [("", data) for _, data in told]
    typeless = [(name, {k: v for k, v in data.items() if k != "type"}) for name, data in told]

    assert streamed(*nameless) == streamed(*typeless) == streamed(*told)


def test_events_that_nobody_knows_are_skipped() -> None:
    told = events(MESSAGE)
    odd: list[tuple[str, Any]] = [("x", {"type": "x"}), ("", "7"), ("y", "[]"), ("", "not JSON")]

    assert streamed(*told[:4], *odd, *told[4:]) == streamed(*told)


def test_citations_belong_to_their_text() -> None:
    text = {"type": "text", "text": "I look."}
    told = events(MESSAGE | {"content": [text]}, 20)
    cited = {"type": "citations_delta", "citation": {"cited_text": "look"}}
    delta = {"type": "content_block_delta", "index": 0, "delta": cited}

    reply = streamed(*told[:4], ("content_block_delta", delta), *told[4:])

    assert reply.messages[0].parts == (Text("I look."),)
    assert b'"citations":[{"cited_text":"look"}]' in reply.messages[0].raw
