"""Ollama's own API: chats and prompts, and replies whole and streamed."""

from __future__ import annotations

import copy
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

DIALECT = Dialect.OLLAMA
CHAT: dict[str, Any] = {"model": "llama-x", "messages": [{"role": "user", "content": "Hello"}]}
PROMPT: dict[str, Any] = {"model": "llama-x", "prompt": "Hello"}


def read(**members: Any) -> Call:
    return make.read("/api/chat", CHAT | members)


def parts(message: dict[str, Any]) -> tuple[Part, ...]:
    return read(messages=[message]).messages[0].parts


# Calls


@pytest.mark.parametrize(("path", "body"), [("/api/chat", CHAT), ("/api/generate", PROMPT)])
def test_a_call_is_known_at_each_path(path: str, body: dict[str, Any]) -> None:
    call = make.read(path, body)

    assert (call.dialect, call.model, call.kind) == (DIALECT, "llama-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize("path", ["/api/tags", "/api/pull", "/api/chat/7", "/chat"])
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(CHAT), make.reader()) is None


@pytest.mark.parametrize(
    "body",
    [{"messages": CHAT["messages"]}, {"model": 7, "prompt": "Hello"}, {"model": "m"},
     {"model": "m", "messages": "Hello"}],
)  # fmt: skip
def test_the_chat_of_some_other_program_is_no_call(body: dict[str, Any]) -> None:
    assert parse_call("/api/chat", make.encoded(body), make.reader()) is None


@pytest.mark.parametrize(
    ("stream", "streams"), [({}, True), ({"stream": True}, True), ({"stream": False}, False)]
)
def test_a_reply_is_streamed_unless_it_is_not_wanted(stream: dict[str, Any], streams: bool) -> None:
    assert read(**stream).streams is streams


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/chat", {"messages": []}), ("/api/generate", {"prompt": ""}),
     ("/api/generate", {"prompt": None})],
)  # fmt: skip
def test_a_call_that_says_nothing_loads_the_model(path: str, body: dict[str, Any]) -> None:
    call = make.read(path, {"model": "llama-x"} | body)

    assert (call.kind, call.messages) == (Kind.PREWARM, ())


def test_the_system_prompt_stands_beside_or_before_what_is_said() -> None:
    system = {"role": "system", "content": "Be brief."}

    assert read(messages=[system, *CHAT["messages"]]).system == "Be brief."
    assert make.read("/api/generate", PROMPT | {"system": "Be brief."}).system == "Be brief."


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    call = read(tools=tools, keep_alive="5m")
    prompt = make.read("/api/generate", PROMPT | {"system": "Be."})

    assert call.members == (
        ("model", b'"llama-x"'),
        ("messages", Stood.MESSAGES),
        ("tools", Stood.TOOLS),
        ("keep_alive", b'"5m"'),
    )
    assert (call.tools, call.tools_raw) == (("look",), make.encoded(tools))
    assert prompt.members == (
        ("model", b'"llama-x"'),
        ("prompt", b'"Hello"'),
        ("system", Stood.SYSTEM),
    )
    assert prompt.system_raw == b'"Be."'


LOOK = {"function": {"name": "look", "arguments": {"at": "a"}}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "Hi"}, (Text("Hi"),)),
        ({"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [LOOK]},
         (ToolCall("", "look", {"at": "a"}),)),
        ({"role": "tool", "tool_name": "look", "content": "9"}, (ToolResult("", "9"),)),
    ],
)  # fmt: skip
def test_a_message_says(message: dict[str, Any], expected: tuple[Part, ...]) -> None:
    assert parts(message) == expected


def test_images_are_told_apart_by_their_content() -> None:
    one, other = (parts({"role": "user", "content": "Hi", "images": [i]}) for i in ("a", "b"))
    prompt = make.read("/api/generate", PROMPT | {"prompt": "Hi", "images": ["a"]})

    assert isinstance(one[1], Opaque)
    assert one != other
    assert prompt.messages[0].parts == one


# Replies

END: dict[str, Any] = {
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 11,
    "eval_count": 12,
    "eval_duration": 13,
}
BEGIN = {"model": "llama-x", "created_at": "2026-01-01T00:00:00Z"}
SAID = {"role": "assistant", "content": "I look.", "thinking": "Hm.", "tool_calls": [LOOK]}


def test_a_whole_reply_to_a_chat_is_read() -> None:
    reply = make.whole(DIALECT, BEGIN | {"message": SAID} | END)

    assert reply.messages[0].role is Role.ASSISTANT
    assert reply.messages[0].parts == (Text("I look."), ToolCall("", "look", {"at": "a"}))
    assert (reply.stop_reason, reply.model, reply.complete) == ("stop", "llama-x", True)
    assert reply.usage == Usage(11, 12, raw=reply.usage.raw)


def test_a_whole_reply_to_a_prompt_is_read() -> None:
    reply = make.whole(DIALECT, BEGIN | {"response": "Hi"} | END)

    assert reply.messages[0].parts == (Text("Hi"),)
    assert reply.usage.output_tokens == 12


def test_tokens_that_are_not_counted_are_unknown() -> None:
    assert make.whole(DIALECT, BEGIN | {"response": "Hi"}).usage == Usage()


def test_an_error_is_a_text() -> None:
    reply = make.whole(DIALECT, {"error": "No such model."}, status=404)

    assert (reply.error, reply.error_message) == ("error", "No such model.")


# Streams


def told(message: dict[str, Any], size: int = 3) -> list[dict[str, Any]]:
    """A reply as Ollama streams it, its texts in pieces of a size."""
    chunks = []
    for name in ("thinking", "content"):
        for piece in make.pieces(message.get(name, ""), size):
            chunks.append(BEGIN | {"message": {"role": "assistant", name: piece}, "done": False})
    for call in message.get("tool_calls", []):
        asks = {"role": "assistant", "content": "", "tool_calls": [call]}
        chunks.append(BEGIN | {"message": asks, "done": False})
    return [*chunks, BEGIN | {"message": {"role": "assistant", "content": ""}} | END]


def streamed(*chunks: bytes) -> Reply:
    return make.reply(DIALECT, chunks, content_type="application/x-ndjson")


def lines(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(make.encoded(chunk) + b"\n" for chunk in chunks)


MESSAGES = st.builds(
    lambda text, names: {
        "role": "assistant",
        "content": text,
        **({"tool_calls": [{"function": {"name": n, "arguments": {}}} for n in names]}
           if names else {}),
    },
    st.text(max_size=20),
    st.lists(st.text(min_size=1, max_size=5), max_size=3),
)  # fmt: skip


@make.QUICK
@given(data=st.data(), message=MESSAGES, size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, message: dict[str, Any], size: int
) -> None:
    chunks = data.draw(make.chunks(lines(told(message, size))))

    whole = make.unordered(make.whole(DIALECT, BEGIN | {"message": message} | END))

    assert make.unordered(streamed(*chunks)) == whole


def test_a_prompt_is_tools_asked_pieces_too() -> None:
    chunks = [BEGIN | {"response": piece, "done": False} for piece in ("I ", "look.")]

    reply = streamed(lines([*chunks, BEGIN | {"response": ""} | END]))

    whole = make.whole(DIALECT, BEGIN | {"response": "I look."} | END)
    assert make.unordered(reply) == make.unordered(whole)


def test_only_done_makes_a_stream_complete() -> None:
    chunks = told(SAID)

    cut = streamed(lines(chunks[:-1]))

    assert (cut.complete, cut.stop_reason) == (False, "")
    assert cut.messages[0].parts == (Text("I look."), ToolCall("", "look", {"at": "a"}))
    assert streamed(lines(chunks)).complete


def test_an_error_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    reply = streamed(lines([*told(SAID)[:-1], {"error": "Out of memory"}]))

    assert (reply.error, reply.error_message) == ("error", "Out of memory")
    assert reply.messages[0].text == "I look."
    assert not reply.complete


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_no_trouble(data: st.DataObject) -> None:
    odd = data.draw(make.JSON)
    chunks = copy.deepcopy(told(SAID))
    chunk = data.draw(st.sampled_from(chunks))
    chunk[data.draw(st.sampled_from(sorted(chunk)))] = odd

    assert isinstance(streamed(lines(chunks)), Reply)
    assert isinstance(make.whole(DIALECT, odd), Reply)
    assert isinstance(make.whole(DIALECT, {"message": odd, "error": odd}), Reply)
    assert isinstance(read(messages=[odd], tools=odd, system=odd), Call)
    assert isinstance(make.read("/api/generate", PROMPT | {"prompt": odd, "images": odd}), Call)
