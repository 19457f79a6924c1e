"""Bedrock Converse, and Nova at InvokeModel: calls, and replies whole and streamed."""

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
from test_eventstream import chunk, event, exception

DIALECT = Dialect.BEDROCK_CONVERSE
AWS = "application/vnd.amazon.eventstream"
PATH = "/model/us.vendor.model-v1%3A0/converse"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def read(path: str = PATH, **members: Any) -> Call:
    return make.read(path, BODY | members)


def parts(*content: Any, role: str = "user") -> tuple[Part, ...]:
    (message,) = read(messages=[{"role": role, "content": list(content)}]).messages
    return message.parts


# Calls


@pytest.mark.parametrize(
    ("path", "model", "streams"),
    [
        (PATH, "us.vendor.model-v1:0", False),
        (PATH + "-stream", "us.vendor.model-v1:0", True),
        ("/model/vendor.model-v1:0/converse?a=b", "vendor.model-v1:0", False),
        ("/bedrock/model/vendor.model/converse-stream/", "vendor.model", True),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fp/converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/p",
            False,
        ),
        (
            "/model/arn:aws:bedrock:us-east-1:1:inference-profile/p/converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/p",
            False,
        ),
    ],
)
def test_a_call_is_known_at_each_path(path: str, model: str, streams: bool) -> None:
    call = read(path)

    assert (call.dialect, call.model, call.kind) == (DIALECT, model, Kind.MAIN)
    assert call.streams is streams
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize("path", ["/model/m/apply", "/model/converse", "/converse", "/model/m"])
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


@pytest.mark.parametrize("messages", [None, "Hello", {"role": "user"}, 7])
def test_a_body_without_a_list_of_messages_is_no_call(messages: object) -> None:
    body = make.encoded({"messages": messages})

    assert parse_call(PATH, body, make.reader()) is None
    assert parse_call(PATH, b'{"promptVariables": {}}', make.reader()) is None


def test_the_system_prompt_is_the_text_of_its_blocks() -> None:
    system = [
        {"text": "Be brief."},
        {"cachePoint": {"type": "default"}},
        {"guardContent": {"text": {"text": "Be kind."}}},
    ]

    assert read(system=system).system == "Be brief.\nBe kind."
    assert read(system=None).system == ""


def test_tools_are_named_in_the_order_sent() -> None:
    tools = [
        {"toolSpec": {"name": "write", "inputSchema": {"json": {}}}},
        {"cachePoint": {"type": "default"}},
        {"systemTool": {"name": "look"}},
    ]

    assert read(toolConfig={"tools": tools, "toolChoice": {"any": {}}}).tools == ("write", "look")
    assert read(toolConfig=None).tools == ()


LOOK = {"toolUseId": "t_1", "name": "look", "input": {"at": "a"}}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"text": "Hi"}, (Text("Hi"),)),
        ({"text": ""}, ()),
        ({"guardContent": {"text": {"text": "Hi", "qualifiers": ["query"]}}}, (Text("Hi"),)),
        ({"citationsContent": {"content": [{"text": "H"}, {"text": "i"}]}}, (Text("Hi"),)),
        ({"toolUse": LOOK}, (ToolCall("t_1", "look", {"at": "a"}),)),
        ({"toolUse": {**LOOK, "type": "server_tool_use"}}, ()),
        ({"toolResult": {"toolUseId": "t_1", "content": [{"text": "9"}, {"json": {"n": 1}}]}},
         (ToolResult("t_1", '9\n{"n":1}'),)),
        ({"toolResult": {"toolUseId": "t_1", "type": "look_result", "content": []}}, ()),
        ({"reasoningContent": {"reasoningText": {"text": "Hm."}}}, ()),
        ({"cachePoint": {"type": "default"}}, ()),
        ({}, ()),
    ],
)  # fmt: skip
def test_a_block_says(block: dict[str, Any], expected: tuple[Part, ...]) -> None:
    assert parts(block) == expected


@pytest.mark.parametrize("kind", ["image", "document", "video", "guardContent"])
def test_what_is_not_text_is_told_apart_by_its_content(kind: str) -> None:
    one, other = (parts({kind: {"source": {"bytes": data}}}) for data in ("YQ==", "Yg=="))
    results = [
        parts({"toolResult": {"content": [{kind: {"source": {"bytes": data}}}]}})
        for data in ("YQ==", "Yg==")
    ]

    assert isinstance(one[0], Opaque)
    assert one[0].type == kind
    assert one != other
    assert results[0] != results[1]


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    system, tools = [{"text": "Be."}], {"tools": [{"toolSpec": {"name": "look"}}]}
    call = read(system=system, toolConfig=tools, inferenceConfig={"maxTokens": 9})

    assert call.members == (
        ("messages", Stood.MESSAGES),
        ("system", Stood.SYSTEM),
        ("toolConfig", Stood.TOOLS),
        ("inferenceConfig", b'{"maxTokens": 9}'),
    )
    assert (call.system_raw, call.tools_raw) == (make.encoded(system), make.encoded(tools))
    assert call.messages[0].raw == make.encoded(BODY["messages"][0])


# Replies

USAGE = {
    "inputTokens": 11,
    "outputTokens": 12,
    "totalTokens": 23,
    "cacheReadInputTokens": 5,
    "cacheWriteInputTokens": 6,
}
SAID: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "Hm. Where?", "signature": "c2ln"}}},
    {"text": "I look."},
    {"toolUse": LOOK},
]


def answer(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use",
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
    }


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(DIALECT, answer(SAID))

    assert [message.role for message in reply.messages] == [Role.ASSISTANT]
    assert reply.messages[0].parts == (Text("I look."), ToolCall("t_1", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.model, reply.error) == ("tool_use", "", "")
    assert reply.complete


def test_what_was_said_is_the_same_when_it_is_sent_back() -> None:
    reply = make.whole(DIALECT, answer(SAID))

    sent = read(messages=[{"role": "assistant", "content": SAID[1:]}])

    assert sent.messages[0].units == reply.messages[0].units


def test_tokens_are_as_the_provider_counts_them() -> None:
    usage = make.whole(DIALECT, answer(SAID)).usage

    assert usage == Usage(11, 12, 5, 6, cache_is_apart=True, raw=usage.raw)
    assert b'"totalTokens":23' in usage.raw


def test_what_was_written_for_an_hour_is_told() -> None:
    parts = [{"ttl": "5m", "inputTokens": 2}, {"ttl": "1h", "inputTokens": 4}, "odd"]
    counted = {"inputTokens": 1, "cacheWriteInputTokens": 6, "cacheDetails": parts}

    usage = make.whole(DIALECT, answer(SAID) | {"usage": counted}).usage

    assert usage.cache_creation_1h_input_tokens == 4
    assert usage.total_input_tokens == 7


def test_nova_names_the_tokens_of_its_cache_otherwise() -> None:
    counted = {"inputTokens": 1, "cacheReadInputTokenCount": 2, "cacheWriteInputTokenCount": 3}

    usage = make.whole(DIALECT, answer(SAID) | {"usage": counted}).usage

    assert usage == Usage(1, None, 2, 3, cache_is_apart=True, raw=usage.raw)


def test_a_router_says_which_model_it_chose() -> None:
    trace = {"promptRouter": {"invokedModelId": "vendor.model"}}

    assert make.whole(DIALECT, answer(SAID) | {"trace": trace}).model == "vendor.model"


def test_an_error_is_a_message() -> None:
    reply = make.whole(DIALECT, {"message": "No such model."}, status=400)

    assert (reply.error, reply.error_message) == ("http_400", "No such model.")


# Streams


def told(content: list[dict[str, Any]], size: int = 3) -> list[tuple[str, dict[str, Any]]]:
    """A reply as Bedrock streams it, its texts in pieces of a size."""
    events: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(content):
        if "toolUse" in block:
            asked = block["toolUse"]
            start = {"toolUse": {"toolUseId": asked["toolUseId"], "name": asked["name"]}}
            events.append(("contentBlockStart", {"start": start, "contentBlockIndex": index}))
        for delta in _deltas(block, size):
            events.append(("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}))
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    events.append(("messageStop", {"stopReason": "tool_use", "p": "abc"}))
    return [*events, ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}, "p": "ab"})]


def _deltas(block: dict[str, Any], size: int) -> list[dict[str, Any]]:
    if "toolUse" in block:
        asked = make.encoded(block["toolUse"]["input"]).decode()
        return [{"toolUse": {"input": piece}} for piece in make.pieces(asked, size)]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        pieces = [{"text": piece} for piece in make.pieces(thought["text"], size)]
        return [
            {"reasoningContent": piece} for piece in [*pieces, {"signature": thought["signature"]}]
        ]
    return [{"text": piece} for piece in make.pieces(block["text"], size)]


def framed(events: list[tuple[str, dict[str, Any]]]) -> bytes:
    return b"".join(event(name, data) for name, data in events)


def streamed(*chunks: bytes) -> Reply:
    return make.reply(DIALECT, chunks, content_type=AWS)


WORDS = st.text(min_size=1, max_size=9)
BLOCKS = st.one_of(
    st.builds(lambda text: {"text": text}, WORDS),
    st.builds(
        lambda id, name, asked: {"toolUse": {"toolUseId": id, "name": name, "input": asked}},
        WORDS,
        WORDS,
        st.dictionaries(st.text(max_size=5), make.JSON, max_size=3),
    ),
)


@make.QUICK
@given(data=st.data(), content=st.lists(BLOCKS, min_size=1, max_size=4), size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, content: list[dict[str, Any]], size: int
) -> None:
    stream = framed(told(content, size))
    chunks = data.draw(make.chunks(stream))

    whole = make.unordered(make.whole(DIALECT, answer(content)))

    assert make.unordered(streamed(*chunks)) == whole


def test_thinking_comes_in_pieces_too() -> None:
    assert make.unordered(streamed(framed(told(SAID)))) == make.unordered(
        make.whole(DIALECT, answer(SAID))
    )


def test_novas_own_events_are_wrapped_under_their_names() -> None:
    events = told(SAID)

    wrapped = b"".join(chunk({name: data}) for name, data in events)

    assert streamed(wrapped) == streamed(framed(events))


def test_a_stream_is_complete_with_its_message() -> None:
    events = told(SAID)

    complete = [streamed(framed(events[:count])).complete for count in range(len(events) + 1)]

    assert complete == [False] * (len(events) - 1) + [True, True]


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    reply = streamed(framed(told(SAID[1:])[:7]))

    assert reply.messages[0].parts == (Text("I look."), ToolCall("t_1", "look", '{"a'))
    assert (reply.stop_reason, reply.usage) == ("", Usage())


def test_an_exception_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    reply = streamed(framed(told(SAID[1:])[:4]), exception("throttlingException", "Slow down"))

    assert (reply.error, reply.error_message) == ("throttlingException", "Slow down")
    assert [message.text for message in reply.messages] == ["I look."]
    assert not reply.complete


def test_what_a_tool_of_the_server_finds_is_not_said() -> None:
    block = {"toolUseId": "t_0", "name": "run", "type": "server_tool_use"}
    found = {"toolUseId": "t_0", "type": "run_result", "status": "success"}
    ran = [
        ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": block}}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": found}}),
        ("contentBlockDelta",
         {"contentBlockIndex": 1, "delta": {"toolResult": [{"json": {"n": 1}}]}}),
        ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "One."}}),
    ]  # fmt: skip

    reply = streamed(framed(ran))

    assert reply.messages[0].parts == (Text("One."),)
    assert b'"content":[{"json":{"n":1}}]' in reply.messages[0].raw


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_no_trouble(data: st.DataObject) -> None:
    events = told(SAID)
    at = data.draw(st.integers(0, len(events) - 1))
    name, value = events[at]
    field = data.draw(st.sampled_from(sorted(value)))
    events[at] = (name, value | {field: data.draw(make.JSON)})

    assert isinstance(streamed(framed(events)), Reply)
    assert isinstance(make.whole(DIALECT, answer([data.draw(make.JSON)])), Reply)
    assert isinstance(make.whole(DIALECT, data.draw(make.JSON)), Reply)
    assert isinstance(read(messages=[data.draw(make.JSON)], system=data.draw(make.JSON)), Call)
    assert isinstance(read(toolConfig={"tools": data.draw(make.JSON)}), Call)
