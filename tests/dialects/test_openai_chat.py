"""OpenAI Chat Completions, as OpenAI and others speak it: calls, and replies whole and streamed."""

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

DIALECT = Dialect.OPENAI_CHAT
BODY: dict[str, Any] = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hello"}]}


def read(path: str = "/v1/chat/completions", **members: Any) -> Call:
    return make.read(path, BODY | members)


def parts(message: dict[str, Any]) -> tuple[Part, ...]:
    return read(messages=[message]).messages[0].parts


# Calls


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "/api/v1/chat/completions",
        "/openai/deployments/my-gpt/chat/completions?api-version=2026-10-01",
        "/openai/v1/chat/completions?api-version=preview",
        "/v1beta/openai/chat/completions",
        "/v1/account/gateway/compat/chat/completions",
    ],
)
def test_a_call_is_known_at_each_path(path: str) -> None:
    call = read(path)

    assert (call.dialect, call.model, call.kind) == (DIALECT, "gpt-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions/chatcmpl-1", "/v1/completions", "/v1/embeddings", "/v1/models", "/"],
)
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


@pytest.mark.parametrize("messages", [None, "Hello", {"role": "user"}, 7])
def test_a_body_without_a_list_of_messages_is_no_call(messages: object) -> None:
    path = "/v1/chat/completions"

    assert parse_call(path, make.encoded(BODY | {"messages": messages}), make.reader()) is None
    assert parse_call(path, b'{"model": "m"}', make.reader()) is None


def test_the_system_prompt_is_what_system_and_developer_messages_say_at_the_beginning() -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hello"},
        {"role": "system", "content": "It is Monday."},
    ]

    call = read(messages=said)

    assert call.system == "Be brief.\nBe kind."
    assert [message.role for message in call.messages] == [
        Role.SYSTEM,
        Role.SYSTEM,
        Role.USER,
        Role.SYSTEM,
    ]


def test_tools_are_named_in_the_order_sent() -> None:
    tools = [
        {"type": "function", "function": {"name": "write", "parameters": {}}},
        {"type": "custom", "custom": {"name": "patch"}},
        {"name": "look"},
        {"type": "web_search"},
    ]

    assert read(tools=tools).tools == ("write", "patch", "look", "web_search")


def test_functions_are_tools_of_an_older_kind() -> None:
    assert read(functions=[{"name": "look", "parameters": {}}]).tools == ("look",)


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), (False, False), (None, False), ("true", False)]
)
def test_only_true_asks_for_a_stream(stream: object, streams: bool) -> None:
    assert read(stream=stream).streams is streams
    assert not read().streams


LOOK = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"a"}'}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "Hi"}, (Text("Hi"),)),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, (Text("Hi"),)),
        ({"role": "assistant", "content": None}, ()),
        ({"role": "assistant", "content": ""}, ()),
        (
            {"role": "assistant", "content": "I look.", "tool_calls": [LOOK]},
            (Text("I look."), ToolCall("call_1", "look", {"at": "a"})),
        ),
        (
            {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}},
            (ToolCall("", "look", {}),),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "look"}}]},
            (ToolCall("c", "look", {}),),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "look",
                                                                         "arguments": '{"at'}}]},
            (ToolCall("c", "look", '{"at'),),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "custom": {"name": "patch",
                                                                       "input": "+ a"}}]},
            (ToolCall("c", "patch", "+ a"),),
        ),
        ({"role": "tool", "tool_call_id": "c", "content": "9"}, (ToolResult("c", "9"),)),
        ({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "9"}]},
         (ToolResult("c", "9"),)),
        ({"role": "function", "name": "look", "content": "9"}, (ToolResult("", "9"),)),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, (Text("No."),)),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}, ()),
        ({"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}, (Text("Hi"),)),
    ],
)  # fmt: skip
def test_a_message_says(message: dict[str, Any], expected: tuple[Part, ...]) -> None:
    assert parts(message) == expected


@pytest.mark.parametrize("type", ["image_url", "input_audio", "file"])
def test_what_is_not_text_is_told_apart_by_its_content(type: str) -> None:
    one, other = (
        parts({"role": "user", "content": [{"type": type, type: {"data": data}}]}) for data in "ab"
    )

    assert isinstance(one[0], Opaque)
    assert one[0].type == type
    assert one != other


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    call = read(tools=[{"name": "look"}], user="me", stream=True)

    assert call.members == (
        ("model", b'"gpt-x"'),
        ("messages", Stood.MESSAGES),
        ("tools", Stood.TOOLS),
        ("user", b'"me"'),
        ("stream", b"true"),
    )
    assert call.tools_raw == b'[{"name": "look"}]'
    assert call.messages[0].raw == b'{"role": "user", "content": "Hello"}'


# Replies

USAGE: dict[str, Any] = {
    "prompt_tokens": 11,
    "completion_tokens": 12,
    "total_tokens": 23,
    "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def completion(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-x-1",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": USAGE,
    }


LOOKS = {"role": "assistant", "content": "I look.", "tool_calls": [LOOK]}


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(DIALECT, completion(LOOKS, "tool_calls"))

    assert [message.role for message in reply.messages] == [Role.ASSISTANT]
    assert reply.messages[0].parts == (Text("I look."), ToolCall("call_1", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.model) == ("tool_calls", "gpt-x-1")
    assert (reply.response_id, reply.error, reply.complete) == ("chatcmpl-1", "", True)


def test_tokens_are_as_the_provider_counts_them() -> None:
    usage = make.whole(DIALECT, completion(LOOKS)).usage

    assert usage == Usage(11, 12, 5, None, 4, raw=usage.raw)
    assert b'"total_tokens":23' in usage.raw


def test_of_several_choices_the_first_is_the_reply() -> None:
    body = completion({"role": "assistant", "content": "One"})
    other = {"index": 1, "message": {"role": "assistant", "content": "Two"}, "finish_reason": "x"}

    reply = make.whole(DIALECT, body | {"choices": [*body["choices"], other]})

    assert [message.text for message in reply.messages] == ["One"]


ERRORS: dict[str, tuple[Any, str, str]] = {
    "type": ({"type": "insufficient_quota", "code": "x", "message": "Pay"}, "insufficient_quota",
             "Pay"),
    "code": ({"code": "content_filter", "message": "No"}, "content_filter", "No"),
    "number": ({"code": 502, "message": "Bad"}, "502", "Bad"),
    "text": ("Bad request", "error", "Bad request"),
    "nothing": ({}, "http_400", ""),
}  # fmt: skip


@pytest.mark.parametrize(("error", "word", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_the_providers_word(error: object, word: str, message: str) -> None:
    reply = make.whole(DIALECT, {"error": error}, status=400)

    assert (reply.error, reply.error_message, reply.messages) == (word, message, ())


# Streams


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One chunk of a completion's first choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-x-1",
        "system_fingerprint": "fp_1",
        "choices": [choice],
        "usage": None,
    }


def asks(index: int, function: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chunk with a piece of a tool call."""
    return chunk({"tool_calls": [{"index": index, **more, "function": function}]})


def told(message: dict[str, Any], finish_reason: str = "stop", size: int = 3) -> list[Any]:
    """A completion as the provider streams it, its texts in pieces of a size."""
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": piece}) for piece in make.pieces(message["content"] or "", size)]
    for index, call in enumerate(message.get("tool_calls", [])):
        named = {"name": call["function"]["name"], "arguments": ""}
        chunks.append(asks(index, named, id=call["id"], type="function"))
        pieces = make.pieces(call["function"]["arguments"], size)
        chunks += [asks(index, {"arguments": piece}) for piece in pieces]
    chunks.append(chunk({}, finish_reason=finish_reason))
    counted = {**chunk({}), "choices": [], "usage": USAGE}
    return [*chunks, counted, "[DONE]"]


def streamed(*chunks: Any) -> Reply:
    return make.streamed(DIALECT, [make.sse(*(("", chunk) for chunk in chunks))])


WORDS = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(st.text(max_size=5), make.JSON, max_size=3).map(
    lambda asked: make.encoded(asked).decode()
)
CALLS = st.builds(
    lambda id, name, asked: {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": asked},
    },
    WORDS,
    WORDS,
    ARGUMENTS,
)
MESSAGES = st.builds(
    lambda text, calls: {
        "role": "assistant",
        "content": text,
        **({"tool_calls": calls} if calls else {}),
    },
    st.text(max_size=20),
    st.lists(CALLS, max_size=3),
)


@make.QUICK
@given(data=st.data(), message=MESSAGES, size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, message: dict[str, Any], size: int
) -> None:
    stream = make.sse(*(("", chunk) for chunk in told(message, size=size)))
    chunks = data.draw(make.chunks(stream))

    whole = make.unordered(make.whole(DIALECT, completion(message)))

    assert make.unordered(make.streamed(DIALECT, chunks)) == whole
    assert make.unordered(make.streamed(DIALECT, make.bytewise(stream))) == whole


def test_only_done_makes_a_stream_complete() -> None:
    chunks = told(LOOKS)

    assert [streamed(*chunks[:count]).complete for count in range(len(chunks))] == [False] * len(
        chunks
    )
    assert streamed(*chunks).complete


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    chunks = told(LOOKS, size=4)[:5]

    reply = streamed(*chunks)

    assert reply.messages[0].parts == (Text("I look."), ToolCall("call_1", "look", '{"at'))
    assert (reply.stop_reason, reply.model, reply.response_id) == ("", "gpt-x-1", "chatcmpl-1")
    assert reply.usage == Usage()


def test_a_call_with_a_new_id_is_a_new_call_where_the_index_is_missing() -> None:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": f"call_{number}", "function": function} for number in range(3)]

    reply = streamed(*(chunk({"tool_calls": [call]}) for call in calls), "[DONE]")

    assert reply.messages[0].parts == tuple(ToolCall(f"call_{n}", "look", {}) for n in range(3))


def test_pieces_without_index_belong_to_the_newest_call() -> None:
    first = {"id": "c", "function": {"name": "look", "arguments": '{"at"'}}
    then = {"function": {"arguments": ':"a"}'}}

    reply = streamed(*(chunk({"tool_calls": [call]}) for call in (first, then)))

    assert reply.messages[0].parts == (ToolCall("c", "look", {"at": "a"}),)


def test_a_function_call_of_the_older_kind_comes_in_pieces_too() -> None:
    pieces = [{"name": "look", "arguments": ""}, {"arguments": '{"at":'}, {"arguments": '"a"}'}]

    reply = streamed(*(chunk({"function_call": piece}) for piece in pieces), "[DONE]")

    assert reply.messages[0].parts == (ToolCall("", "look", {"at": "a"}),)


def test_the_input_of_a_custom_tool_comes_in_pieces_too() -> None:
    begun = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": "+ "}}
    then = {"index": 0, "custom": {"input": "a"}}

    reply = streamed(*(chunk({"tool_calls": [call]}) for call in (begun, then)), "[DONE]")

    assert reply.messages[0].parts == (ToolCall("c", "patch", "+ a"),)


def test_reasoning_in_pieces_is_not_said() -> None:
    thought = [chunk({"reasoning_content": piece}) for piece in ("Let ", "me ", "see.")]

    reply = streamed(*thought, chunk({"content": "Hi"}), "[DONE]")

    assert reply.messages[0].parts == (Text("Hi"),)
    assert b'"reasoning_content":"Let me see."' in reply.messages[0].raw


def test_a_whole_message_in_a_stream_is_read() -> None:
    body = completion({"role": "assistant", "content": "Hi"}) | {"object": "chat.completion.chunk"}

    assert streamed(body, "[DONE]").messages[0].parts == (Text("Hi"),)


def test_of_several_choices_in_a_stream_the_first_is_the_reply() -> None:
    chunks = [chunk({"content": piece}, index=index) for index, piece in ((1, "B"), (0, "A"))]

    assert streamed(*chunks, "[DONE]").messages[0].parts == (Text("A"),)


def test_an_error_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    error = {"error": {"type": "server_error", "message": "Out of memory"}}

    reply = streamed(chunk({"content": "I look."}), error)

    assert (reply.error, reply.error_message) == ("server_error", "Out of memory")
    assert reply.messages[0].text == "I look."
    assert not reply.complete


def test_chunks_that_nobody_knows_are_skipped() -> None:
    chunks = told(LOOKS)
    odd = ["7", "[]", "not JSON", {"choices": []}, {"choices": [7]}, {"choices": None}]

    assert streamed(*chunks[:4], *odd, *chunks[4:]) == streamed(*chunks)


@pytest.mark.parametrize("ids", [("", "c1", "stub"), ("c1", "stub", "stub")])
def test_the_id_is_that_of_the_first_chunk_that_has_one(ids: tuple[str, ...]) -> None:
    assert streamed(*[chunk({"content": "A"}) | {"id": id} for id in ids]).response_id == "c1"
