"""Cohere Chat, both versions: calls, and replies whole and streamed."""

from __future__ import annotations

import copy
import json
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

BODY: dict[str, Any] = {"model": "command-x", "messages": [{"role": "user", "content": "Hello"}]}
BODY_1: dict[str, Any] = {"model": "command-x", "message": "Hello"}
WORDS = st.text(min_size=1, max_size=9)


def read(**members: Any) -> Call:
    return make.read("/v2/chat", BODY | members)


def read_1(**members: Any) -> Call:
    return make.read("/v1/chat", BODY_1 | members)


def parts(message: dict[str, Any]) -> tuple[Part, ...]:
    return read(messages=[message]).messages[0].parts


# Calls


@pytest.mark.parametrize("path", ["/v2/chat", "/v2/chat/", "/gateway/cohere/v2/chat?a=b"])
def test_a_call_of_the_second_version_is_known(path: str) -> None:
    call = make.read(path, BODY)

    assert (call.dialect, call.model, call.kind) == (Dialect.COHERE, "command-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/", "/gateway/cohere/v1/chat?a=b"])
def test_a_call_of_the_first_version_is_known(path: str) -> None:
    call = make.read(path, BODY_1)

    assert (call.dialect, call.model, call.kind) == (Dialect.COHERE_V1, "command-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


def test_a_list_of_messages_at_the_first_path_is_another_dialect() -> None:
    call = make.read("/v1/chat", BODY)

    assert (call.dialect, call.model) == (Dialect.OPENAI_CHAT, "command-x")


@pytest.mark.parametrize("path", ["/v1/chat", "/v2/chat"])
@pytest.mark.parametrize("body", [{}, {"message": ["Hello"]}, {"messages": "Hello"}])
def test_a_body_of_another_shape_is_no_call(path: str, body: dict[str, Any]) -> None:
    assert parse_call(path, make.encoded(body), make.reader()) is None


@pytest.mark.parametrize(("stream", "streams"), [(True, True), (False, False), (None, False)])
def test_only_true_asks_for_a_stream(stream: object, streams: bool) -> None:
    assert read(stream=stream).streams is read_1(stream=stream).streams is streams


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    call = read(tools=tools, temperature=0)

    assert call.members == (
        ("model", b'"command-x"'),
        ("messages", Stood.MESSAGES),
        ("tools", Stood.TOOLS),
        ("temperature", b"0"),
    )
    assert (call.tools, call.tools_raw) == (("look",), make.encoded(tools))


LOOK = {"id": "c_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"a"}'}}
FOUND = [
    {"type": "document", "document": {"id": "d", "data": '{"n": 1}'}},
    {"type": "document", "document": {"data": {"n": 2}}},
    {"type": "text", "text": "three"},
]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "Hi"}, (Text("Hi"),)),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, (Text("Hi"),)),
        ({"role": "assistant", "tool_plan": "I look.", "tool_calls": [LOOK]},
         (ToolCall("c_1", "look", {"at": "a"}),)),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}, ()),
        ({"role": "tool", "tool_call_id": "c_1", "content": "9"}, (ToolResult("c_1", "9"),)),
        ({"role": "tool", "tool_call_id": "c_1", "content": FOUND},
         (ToolResult("c_1", '{"n": 1}\n{"n":2}\nthree'),)),
    ],
)  # fmt: skip
def test_a_message_says(message: dict[str, Any], expected: tuple[Part, ...]) -> None:
    assert parts(message) == expected


def test_an_image_is_told_apart_by_its_content() -> None:
    one, other = (
        parts({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})
        for url in "ab"
    )

    assert isinstance(one[0], Opaque)
    assert one != other


# Calls of the first version


def test_the_newest_message_comes_after_the_history() -> None:
    said = [
        {"role": "SYSTEM", "message": "Be brief."},
        {"role": "User", "message": "Where?"},
        {"role": "CHATBOT", "message": "I look.",
         "tool_calls": [{"name": "look", "parameters": {"at": "a"}}]},
        {"role": "TOOL", "tool_results": [{"call": {"name": "look"}, "outputs": [{"n": 9}]}]},
    ]  # fmt: skip

    call = read_1(chat_history=said, preamble="Be kind.", tools=[{"name": "look"}])

    assert [(message.role, message.parts) for message in call.messages] == [
        (Role.SYSTEM, (Text("Be brief."),)),
        (Role.USER, (Text("Where?"),)),
        (Role.ASSISTANT, (Text("I look."), ToolCall("", "look", {"at": "a"}))),
        (Role.TOOL, (ToolResult("", '[{"n":9}]'),)),
        (Role.USER, (Text("Hello"),)),
    ]
    assert (call.system, call.tools) == ("Be kind.\nBe brief.", ("look",))


def test_results_of_tools_may_stand_beside_the_history() -> None:
    call = read_1(message="", tool_results=[{"call": {"name": "look"}, "outputs": [{"n": 9}]}])

    assert [message.parts for message in call.messages] == [(ToolResult("", '[{"n":9}]'),)]


def test_all_members_of_the_first_version_are_kept() -> None:
    body = BODY_1 | {"chat_history": [{"role": "USER", "message": "Hi"}], "preamble": "Be."}

    call = make.read("/v1/chat", body)

    assert [(name, json.loads(raw)) for name, raw in call.members] == list(body.items())


# Replies

USAGE = {
    "billed_units": {"input_tokens": 1, "output_tokens": 2},
    "tokens": {"input_tokens": 11, "output_tokens": 12},
    "cached_tokens": 5,
}
CONTENT = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "I look."}]


def answer(content: list[dict[str, Any]], calls: list[dict[str, Any]], plan: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "tool_plan": plan, "content": content}
    message |= {"tool_calls": calls}
    kept = {name: value for name, value in message.items() if value}
    return {"id": "r_1", "message": kept, "finish_reason": "TOOL_CALL", "usage": USAGE}


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(Dialect.COHERE, answer(CONTENT, [LOOK], "I will."))

    assert reply.messages[0].parts == (Text("I look."), ToolCall("c_1", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.response_id, reply.error) == ("TOOL_CALL", "r_1", "")
    assert reply.usage == Usage(11, 12, 5, raw=reply.usage.raw)


def test_what_is_billed_counts_where_nothing_else_does() -> None:
    usage = {"billed_units": {"input_tokens": 1, "output_tokens": 2}}

    reply = make.whole(Dialect.COHERE, answer(CONTENT, [], "") | {"usage": usage})

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (1, 2)


@pytest.mark.parametrize("dialect", [Dialect.COHERE, Dialect.COHERE_V1])
def test_an_error_is_a_message(dialect: Dialect) -> None:
    reply = make.whole(dialect, {"id": "e", "message": "No such model."}, status=404)

    assert (reply.error, reply.error_message) == ("http_404", "No such model.")
    assert reply.messages == ()


REPLY_1 = {
    "response_id": "r_1",
    "generation_id": "g_1",
    "text": "I look.",
    "tool_calls": [{"name": "look", "parameters": {"at": "a"}}],
    "finish_reason": "COMPLETE",
    "meta": USAGE,
}


def test_a_whole_reply_of_the_first_version_is_read() -> None:
    reply = make.whole(Dialect.COHERE_V1, REPLY_1)

    assert reply.messages[0].parts == (Text("I look."), ToolCall("", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.response_id) == ("COMPLETE", "r_1")
    assert reply.usage == Usage(11, 12, 5, raw=reply.usage.raw)


def test_what_was_said_is_the_same_when_it_is_sent_back() -> None:
    said = make.whole(Dialect.COHERE_V1, REPLY_1).messages[0]

    item = {"role": "CHATBOT", "message": "I look.", "tool_calls": REPLY_1["tool_calls"]}

    assert read_1(chat_history=[item]).messages[0].units == said.units


# Streams


def told(content: list[dict[str, Any]], calls: list[dict[str, Any]], plan: str) -> list[Any]:
    """A reply as Cohere streams it, its texts in pieces."""
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
    events: list[Any] = [{"type": "message-start", "id": "r_1", "delta": {"message": empty}}]
    for piece in make.pieces(plan, 3):
        events.append({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}})
    for index, block in enumerate(content):
        name = block["type"]
        events.append(said("content-start", index, content={"type": name, name: ""}))
        for piece in make.pieces(block[name], 3):
            events.append(said("content-delta", index, content={name: piece}))
        events.append({"type": "content-end", "index": index})
    for index, call in enumerate(calls):
        named = call | {"function": call["function"] | {"arguments": ""}}
        events.append(said("tool-call-start", index, tool_calls=named))
        for piece in make.pieces(call["function"]["arguments"], 3):
            more = {"function": {"arguments": piece}}
            events.append(said("tool-call-delta", index, tool_calls=more))
        events.append({"type": "tool-call-end", "index": index})
    end = {"finish_reason": "TOOL_CALL", "usage": USAGE}
    return [*events, {"type": "message-end", "delta": end}]


def said(type: str, index: int, **message: Any) -> dict[str, Any]:
    return {"type": type, "index": index, "delta": {"message": message}}


def written(events: list[Any]) -> bytes:
    return make.sse(*((str(event["type"]), event) for event in events), ("", "[DONE]"))


BLOCKS = st.builds(lambda name, text: {"type": name, name: text}, st.sampled_from(["text"]), WORDS)
CALLS = st.builds(
    lambda id, name, asked: {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": make.encoded(asked).decode()},
    },
    WORDS,
    WORDS,
    st.dictionaries(st.text(max_size=5), make.JSON, max_size=3),
)


@make.QUICK
@given(
    data=st.data(),
    content=st.lists(BLOCKS, max_size=2),
    calls=st.lists(CALLS, max_size=2),
    plan=st.text(max_size=9),
)
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, content: list[Any], calls: list[Any], plan: str
) -> None:
    chunks = data.draw(make.chunks(written(told(content, calls, plan))))

    whole = make.unordered(make.whole(Dialect.COHERE, answer(content, calls, plan)))

    assert make.unordered(make.streamed(Dialect.COHERE, chunks)) == whole


def test_only_its_end_makes_a_stream_complete() -> None:
    events = told(CONTENT, [LOOK], "")

    cut = make.streamed(Dialect.COHERE, [written(events[:-1])])

    assert not cut.complete
    assert cut.messages[0].parts == (Text("I look."), ToolCall("c_1", "look", {"at": "a"}))
    assert make.streamed(Dialect.COHERE, [written(events)]).complete


EVENTS_1: list[dict[str, Any]] = [
    {"event_type": "stream-start", "generation_id": "g_1"},
    {"event_type": "text-generation", "text": "I "},
    {"event_type": "text-generation", "text": "look."},
    {"event_type": "tool-calls-chunk", "tool_call_delta": {"name": "look"}},
    {"event_type": "tool-calls-generation", "tool_calls": REPLY_1["tool_calls"]},
    {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": REPLY_1},
]


def lines(events: list[Any]) -> bytes:
    return b"".join(make.encoded(event) + b"\n" for event in events)


def streamed_1(*chunks: bytes) -> Reply:
    return make.reply(Dialect.COHERE_V1, chunks, content_type="application/stream+json")


@make.QUICK
@given(st.data())
def test_a_stream_of_the_first_version_ends_with_the_whole_reply(data: st.DataObject) -> None:
    chunks = data.draw(make.chunks(lines(EVENTS_1)))

    whole = make.unordered(make.whole(Dialect.COHERE_V1, REPLY_1))

    assert make.unordered(streamed_1(*chunks)) == whole


def test_a_stream_of_the_first_version_that_breaks_off_keeps_what_has_come() -> None:
    cut = streamed_1(lines(EVENTS_1[:-1]))

    assert cut.messages[0].parts == (Text("I look."), ToolCall("", "look", {"at": "a"}))
    assert (cut.complete, cut.stop_reason) == (False, "")


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_no_trouble(data: st.DataObject) -> None:
    odd = data.draw(make.JSON)
    events, events_1 = copy.deepcopy((told(CONTENT, [LOOK], "I will."), EVENTS_1))
    event = data.draw(st.sampled_from([*events, *events_1]))
    event[data.draw(st.sampled_from(sorted(event)))] = odd

    assert isinstance(make.whole(Dialect.COHERE, odd), Reply)
    assert isinstance(make.whole(Dialect.COHERE_V1, odd), Reply)
    assert isinstance(make.whole(Dialect.COHERE, {"message": odd, "usage": odd}), Reply)
    stream = b"".join(b"data: " + make.encoded(event) + b"\n\n" for event in events)
    assert isinstance(make.streamed(Dialect.COHERE, [stream]), Reply)
    assert isinstance(streamed_1(lines(events_1)), Reply)
    assert isinstance(read(messages=[odd, {"role": "tool", "content": odd}]), Call)
    assert isinstance(read_1(tools=odd, preamble=odd, tool_results=odd), Call)
