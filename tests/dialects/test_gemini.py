"""Gemini generateContent, Vertex and Code Assist: calls, and replies whole and streamed."""

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

DIALECT = Dialect.GEMINI
HELLO = {"role": "user", "parts": [{"text": "Hello"}]}
BODY: dict[str, Any] = {"contents": [HELLO]}
PATH = "/v1beta/models/gemini-x:generateContent"


def read(path: str = PATH, **members: Any) -> Call:
    return make.read(path, BODY | members)


def parts(*values: Any, role: str = "user") -> tuple[Part, ...]:
    return read(contents=[{"role": role, "parts": list(values)}]).messages[0].parts


# Calls


@pytest.mark.parametrize(
    "before",
    [
        "/v1beta/models/gemini-x",
        "/v1/models/gemini-x",
        "/v1/projects/p/locations/l/publishers/google/models/gemini-x",
        "/v1/account/gateway/google-ai-studio/v1beta/models/gemini-x",
    ],
)
@pytest.mark.parametrize(
    ("method", "streams", "kind"),
    [
        ("generateContent", False, Kind.MAIN),
        ("streamGenerateContent", True, Kind.MAIN),
        ("countTokens", False, Kind.COUNT_TOKENS),
    ],
)
def test_a_call_is_known_at_each_path(before: str, method: str, streams: bool, kind: Kind) -> None:
    call = read(f"{before}:{method}?alt=sse&key=k")

    assert (call.dialect, call.model, call.kind) == (DIALECT, "gemini-x", kind)
    assert call.streams is streams
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-x:embedContent",
        "/v1beta/models/gemini-x",
        "/v1beta/models/gemini-x:batchGenerateContent",
        "/v1beta/cachedContents",
        "/",
    ],
)
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


@pytest.mark.parametrize(
    "body", [{"model": "m"}, {"messages": []}, {"request": {}}, {"request": [BODY]}]
)
def test_a_body_without_contents_is_no_call(body: dict[str, Any]) -> None:
    assert parse_call(PATH, make.encoded(body), make.reader()) is None


def test_code_assist_wraps_a_call() -> None:
    body = {
        "model": "gemini-y",
        "project": "p",
        "request": {**BODY, "systemInstruction": {"parts": [{"text": "Be."}]}, "session_id": "s"},
    }

    call = make.read("/v1internal:streamGenerateContent?alt=sse", body)

    assert (call.model, call.streams, call.system) == ("gemini-y", True, "Be.")
    assert [message.text for message in call.messages] == ["Hello"]
    assert call.members == (
        ("model", b'"gemini-y"'),
        ("project", b'"p"'),
        ("request.contents", Stood.MESSAGES),
        ("request.systemInstruction", Stood.SYSTEM),
        ("request.session_id", b'"s"'),
    )


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ({"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}, "Be brief.\nBe kind."),
        ({"role": "user", "parts": {"text": "Be brief."}}, "Be brief."),
        ("Be brief.", "Be brief."),
        (None, ""),
    ],
)
def test_the_system_prompt_is_the_text_of_its_parts(
    name: str, system: object, expected: str
) -> None:
    assert read(**{name: system}).system == expected


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ([{"functionDeclarations": [{"name": "write"}, {"name": "look"}]}], ("write", "look")),
        ([{"function_declarations": [{"name": "look"}]}, {"googleSearch": {}}],
         ("look", "googleSearch")),
        ({"functionDeclarations": [{"name": "look"}]}, ("look",)),
        (None, ()),
    ],
)  # fmt: skip
def test_tools_are_named_in_the_order_sent(tools: object, expected: tuple[str, ...]) -> None:
    assert read(tools=tools).tools == expected


def test_contents_have_the_roles_that_they_say() -> None:
    contents = [{**HELLO, "role": role} for role in ("user", "model", "function", "other")]
    nameless = {"parts": HELLO["parts"]}

    messages = read(contents=[*contents, nameless]).messages

    assert [message.role for message in messages] == [
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
        Role.USER,
        Role.USER,
    ]


def test_one_content_need_not_stand_in_a_list() -> None:
    call = read(contents=HELLO)

    assert [message.text for message in call.messages] == ["Hello"]
    assert call.member("contents") == make.encoded(HELLO)


LOOK = {"name": "look", "args": {"at": "a"}}
FOUND = {"name": "look", "response": {"output": "9", "n": 1}}
PARTS: list[tuple[dict[str, Any], tuple[Part, ...]]] = [
    ({"text": "Hi"}, (Text("Hi"),)),
    ({"text": ""}, ()),
    ({"text": "Hm.", "thought": True}, ()),
    ({"text": "Hi", "thought": False, "thoughtSignature": "c2ln"}, (Text("Hi"),)),
    ({"functionCall": LOOK}, (ToolCall("", "look", {"at": "a"}),)),
    ({"functionCall": {"id": "f", "name": "look"}}, (ToolCall("f", "look", None),)),
    ({"function_call": LOOK, "thoughtSignature": "c"}, (ToolCall("", "look", {"at": "a"}),)),
    ({"functionResponse": FOUND}, (ToolResult("", '{"n":1,"output":"9"}'),)),
    ({"function_response": {"id": "f", **FOUND}}, (ToolResult("f", '{"n":1,"output":"9"}'),)),
    ({"thoughtSignature": "c2ln"}, ()),
    ({}, ()),
]


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_a_part_says(part: dict[str, Any], expected: tuple[Part, ...]) -> None:
    assert parts(part) == expected


@pytest.mark.parametrize("name", ["inlineData", "fileData", "executableCode"])
def test_what_is_not_text_is_told_apart_by_its_content(name: str) -> None:
    one, other = (parts({name: {"data": data}}) for data in "ab")

    assert isinstance(one[0], Opaque)
    assert one[0].type == name
    assert one != other


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    call = read(system_instruction="Be.", tools=[], generationConfig={"topK": 1})

    assert call.members == (
        ("contents", Stood.MESSAGES),
        ("system_instruction", Stood.SYSTEM),
        ("tools", Stood.TOOLS),
        ("generationConfig", b'{"topK": 1}'),
    )
    assert (call.system_raw, call.tools_raw) == (b'"Be."', b"[]")
    assert call.messages[0].raw == make.encoded(HELLO)


# Replies

USAGE: dict[str, Any] = {
    "promptTokenCount": 11,
    "candidatesTokenCount": 12,
    "totalTokenCount": 27,
    "cachedContentTokenCount": 5,
    "thoughtsTokenCount": 4,
}
SAID = [{"text": "Hm.", "thought": True}, {"text": "I look."}, {"functionCall": LOOK}]


def answer(parts: list[Any], **more: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": USAGE,
        "modelVersion": "gemini-x-1",
        "responseId": "r_1",
        **more,
    }


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(DIALECT, answer(SAID))

    assert [(message.role, message.parts) for message in reply.messages] == [
        (Role.ASSISTANT, (Text("I look."), ToolCall("", "look", {"at": "a"})))
    ]
    assert (reply.stop_reason, reply.model) == ("STOP", "gemini-x-1")
    assert (reply.response_id, reply.error, reply.complete) == ("r_1", "", True)


def test_code_assist_wraps_a_reply() -> None:
    wrapped = {"response": answer(SAID), "traceId": "t"}

    assert make.whole(DIALECT, wrapped) == make.whole(DIALECT, answer(SAID))


def test_tokens_are_as_the_provider_counts_them() -> None:
    usage = make.whole(DIALECT, answer(SAID)).usage

    assert usage == Usage(11, 12, 5, None, 4, reasoning_is_apart=True, raw=usage.raw)
    assert b'"totalTokenCount":27' in usage.raw


def test_a_prompt_that_is_blocked_says_why() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE}

    for reply in (make.whole(DIALECT, blocked), streamed(blocked)):
        assert (reply.stop_reason, reply.messages, reply.complete) == ("SAFETY", (), True)


ERROR = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow down"}}


@pytest.mark.parametrize("body", [ERROR, [ERROR]], ids=["alone", "in a list"])
def test_an_error_is_the_providers_word(body: object) -> None:
    reply = make.whole(DIALECT, body, status=429)

    assert (reply.error, reply.error_message) == ("RESOURCE_EXHAUSTED", "Slow down")
    assert reply.messages == ()


# Streams


def told(parts: list[Any], size: int = 3) -> list[dict[str, Any]]:
    """A reply as the provider streams it, its texts in pieces of a size."""
    pieces = [piece for part in parts for piece in _pieces(part, size)]
    chunks = [answer([piece]) for piece in pieces]
    for chunk in chunks[:-1]:
        del chunk["candidates"][0]["finishReason"]
        chunk["usageMetadata"] = {"promptTokenCount": 11, "totalTokenCount": 11}
    return chunks


def _pieces(part: dict[str, Any], size: int) -> list[dict[str, Any]]:
    if "text" not in part:
        return [part]
    return [{**part, "text": piece} for piece in make.pieces(part["text"], size)]


def streamed(*chunks: Any) -> Reply:
    return make.streamed(DIALECT, [make.sse(*(("", chunk) for chunk in chunks))])


WORDS = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
# Texts that follow one another are one text, so something stands between them.
ROUNDS = st.tuples(
    st.builds(lambda text: {"text": text, "thought": True, "thoughtSignature": "c2ln"}, WORDS),
    st.builds(lambda text: {"text": text}, WORDS),
    st.builds(
        lambda name, asked: {"functionCall": {"name": name, "args": asked}}, WORDS, ARGUMENTS
    ),
)
REPLIES = st.lists(ROUNDS, min_size=1, max_size=3).map(
    lambda rounds: [part for round in rounds for part in round]
)


@make.QUICK
@given(data=st.data(), parts=REPLIES, size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, parts: list[Any], size: int
) -> None:
    stream = make.sse(*(("", chunk) for chunk in told(parts, size)))
    chunks = data.draw(make.chunks(stream))

    whole = make.unordered(make.whole(DIALECT, answer(parts)))

    assert make.unordered(make.streamed(DIALECT, chunks)) == whole
    assert make.unordered(make.streamed(DIALECT, make.bytewise(stream))) == whole


def test_a_stream_sent_as_a_list_is_the_whole_reply() -> None:
    listed = make.whole(DIALECT, told(SAID))

    assert make.unordered(listed) == make.unordered(make.whole(DIALECT, answer(SAID)))


def test_a_stream_that_is_wrapped_is_the_whole_reply() -> None:
    wrapped = streamed(*({"response": chunk, "traceId": "t"} for chunk in told(SAID)))

    assert wrapped == streamed(*told(SAID))


def test_a_stream_is_complete_with_its_finish_reason_only() -> None:
    chunks = told(SAID)

    assert not any(streamed(*chunks[:count]).complete for count in range(len(chunks)))
    assert streamed(*chunks).complete
    assert streamed(*chunks, {"usageMetadata": USAGE}).complete


def test_a_prompt_that_is_rated_is_not_yet_answered() -> None:
    rated = {**told(SAID)[0], "promptFeedback": {"safetyRatings": []}}

    assert not streamed(rated).complete


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    reply = streamed(*told(SAID[1:], 3)[:2])

    assert [message.text for message in reply.messages] == ["I look"]
    assert (reply.stop_reason, reply.model, reply.response_id) == ("", "gemini-x-1", "r_1")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, None)


def test_what_an_earlier_chunk_counted_stays_counted() -> None:
    chunks = [answer([{"text": "Hi"}]), {"usageMetadata": {"promptTokenCount": 99}}]

    usage = streamed(*chunks).usage

    assert (usage.input_tokens, usage.output_tokens) == (99, 12)


def test_an_error_in_the_middle_of_a_stream_is_read_beside_what_was_said() -> None:
    reply = streamed(*told(SAID[1:], 20)[:1], ERROR)

    assert (reply.error, reply.error_message) == ("RESOURCE_EXHAUSTED", "Slow down")
    assert [message.text for message in reply.messages] == ["I look."]
    assert not reply.complete


def test_of_several_candidates_the_first_is_the_reply() -> None:
    body = answer([{"text": "One"}])
    body["candidates"].append({"content": {"role": "model", "parts": [{"text": "Two"}]}})

    for reply in (make.whole(DIALECT, body), streamed(body)):
        assert [message.text for message in reply.messages] == ["One"]


def test_chunks_that_nobody_knows_are_skipped() -> None:
    chunks = told(SAID)
    odd = ["7", "[]", "not JSON", {"candidates": []}, {"candidates": [7]}, {"candidates": None}]

    assert streamed(*chunks[:2], *odd, *chunks[2:]) == streamed(*chunks)
