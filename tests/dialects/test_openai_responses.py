"""OpenAI Responses: calls, and replies whole and streamed."""

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
    Reference,
    Reply,
    Role,
    Stood,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from callerid.wire.parse import parse_call

DIALECT = Dialect.OPENAI_RESPONSES
HELLO = {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
BODY: dict[str, Any] = {"model": "gpt-x", "input": [HELLO]}


def read(path: str = "/v1/responses", **members: Any) -> Call:
    return make.read(path, BODY | members)


# Calls


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/responses",
        "/v1/responses/",
        "/backend-api/codex/responses",
        "/openai/v1/responses?api-version=preview",
        "/v1/account/gateway/openai/responses",
    ],
)
def test_a_call_is_known_at_each_path(path: str) -> None:
    call = read(path)

    assert (call.dialect, call.model, call.kind) == (DIALECT, "gpt-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses/resp_1",
        "/v1/responses/resp_1/cancel",
        "/v1/responses/resp_1/input_items",
        "/",
    ],
)
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


@pytest.mark.parametrize("body", [{"model": "m"}, BODY | {"messages": []}, {"prompt": "Hello"}])
def test_a_body_of_another_shape_is_no_call(body: dict[str, Any]) -> None:
    assert parse_call("/v1/responses", make.encoded(body), make.reader()) is None


def test_an_input_that_is_a_text_is_what_a_person_said() -> None:
    call = read(input='Say \\ "hi" \n é')

    assert [(message.role, message.text) for message in call.messages] == [
        (Role.USER, 'Say \\ "hi" \n é')
    ]
    assert call.member("input") == make.encoded('Say \\ "hi" \n é')


@pytest.mark.parametrize("input", [[], None])
def test_a_call_may_say_nothing_new(input: object) -> None:
    call = read(input=input, previous_response_id="resp_1")

    assert (call.messages, call.previous_response_id) == ((), "resp_1")


def test_a_call_may_go_on_from_a_reply_without_any_input() -> None:
    call = make.read("/v1/responses", {"model": "m", "previous_response_id": "resp_1"})

    assert (call.messages, call.previous_response_id) == ((), "resp_1")
    assert read(previous_response_id=None).previous_response_id == ""


def test_the_system_prompt_is_the_instructions_and_what_developers_say_at_the_beginning() -> None:
    said = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be."}]},
        HELLO,
        {"role": "developer", "content": "It is Monday."},
    ]

    assert read(instructions="Be brief.", input=said).system == "Be brief.\nBe kind.\nBe."
    assert read(input=said).system == "Be kind.\nBe."
    assert read(instructions="Be brief.").system == "Be brief."
    assert read(instructions=None).system == ""


def test_tools_are_named_in_the_order_sent() -> None:
    tools = [
        {"type": "function", "name": "write", "parameters": {}},
        {"type": "custom", "name": "patch"},
        {"type": "web_search"},
    ]

    assert read(tools=tools).tools == ("write", "patch", "web_search")


def test_tools_may_come_as_an_item_of_the_input() -> None:
    late = {"type": "additional_tools", "tools": [{"type": "function", "name": "look"}]}

    assert read(input=[late, HELLO]).tools == ("look",)


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), (False, False), (None, False), ("true", False)]
)
def test_only_true_asks_for_a_stream(stream: object, streams: bool) -> None:
    assert read(stream=stream).streams is streams
    assert not read().streams


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


ITEMS: list[tuple[dict[str, Any], Role, tuple[Part, ...]]] = [
    ({"role": "user", "content": "Hi"}, Role.USER, (Text("Hi"),)),
    ({"type": "message", "role": "user", "content": [text("Hi")]}, Role.USER, (Text("Hi"),)),
    (
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
        Role.ASSISTANT,
        (Text("Hi"),),
    ),
    (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        Role.ASSISTANT,
        (Text("No."),),
    ),
    ({"role": "developer", "content": "Be kind."}, Role.SYSTEM, (Text("Be kind."),)),
    (
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at": "a"}'},
        Role.ASSISTANT,
        (ToolCall("c", "look", {"at": "a"}),),
    ),
    (
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "+ a"},
        Role.ASSISTANT,
        (ToolCall("c", "patch", "+ a"),),
    ),
    (
        {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
        Role.ASSISTANT,
        (ToolCall("c", "local_shell_call", {"command": ["ls"]}),),
    ),
    (
        {"type": "function_call_output", "call_id": "c", "output": "9"},
        Role.TOOL,
        (ToolResult("c", "9"),),
    ),
    (
        {"type": "custom_tool_call_output", "call_id": "c", "output": [text("9"), text("10")]},
        Role.TOOL,
        (ToolResult("c", "9\n10"),),
    ),
    (
        {"type": "shell_call_output", "call_id": "c", "output": {"b": 2, "a": 1}},
        Role.TOOL,
        (ToolResult("c", '{"a":1,"b":2}'),),
    ),
    ({"type": "reasoning", "summary": [], "encrypted_content": "x"}, Role.SYSTEM, ()),
    ({"type": "item_reference", "id": "msg_1"}, Role.ASSISTANT, (Reference("msg_1"),)),
    ({"type": "web_search_call", "action": {"query": "q"}}, Role.SYSTEM, ()),
    ({"type": "compaction_trigger"}, Role.SYSTEM, ()),
    (
        {
            "type": "agent_message",
            "content": [
                {"type": "input_text", "text": "Task name: /root/ada"},
                {"type": "encrypted_content", "encrypted_content": "Read the notes."},
            ],
        },
        Role.USER,
        (Text("Task name: /root/ada"), Text("Read the notes.")),
    ),
]


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"generate": False, "input": []}, Kind.PREWARM),
        ({"generate": True}, Kind.MAIN),
        ({"input": [HELLO, {"type": "compaction_trigger"}]}, Kind.COMPACTION),
        ({"input": [{"type": "compaction_trigger"}, HELLO]}, Kind.MAIN),
        ({"input": [text("compaction_trigger") | {"role": "user"}]}, Kind.MAIN),
    ],
)
def test_the_api_has_words_for_some_kinds_of_call(members: dict[str, Any], kind: Kind) -> None:
    assert read(**members).kind is kind


@pytest.mark.parametrize(("item", "role", "expected"), ITEMS)
def test_an_item_says(item: dict[str, Any], role: Role, expected: tuple[Part, ...]) -> None:
    (message,) = read(input=[item]).messages

    assert (message.role, message.parts) == (role, expected)


@pytest.mark.parametrize(
    ("item", "role"),
    [
        ({"type": "compaction", "encrypted_content": "x"}, Role.ASSISTANT),
        ({"type": "computer_call_output", "output": {"type": "computer_screenshot"}}, Role.USER),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, Role.USER),
    ],
)
def test_what_is_not_text_is_opaque(item: dict[str, Any], role: Role) -> None:
    (message,) = read(input=[item]).messages

    assert message.role is role
    assert isinstance(message.parts[0], Opaque)


def test_the_members_of_the_body_are_kept_but_for_what_stands_elsewhere() -> None:
    call = read(instructions="Be brief.", tools=[{"name": "look"}], store=False)

    assert call.members == (
        ("model", b'"gpt-x"'),
        ("input", Stood.MESSAGES),
        ("instructions", Stood.SYSTEM),
        ("tools", Stood.TOOLS),
        ("store", b"false"),
    )
    assert (call.system_raw, call.tools_raw) == (b'"Be brief."', b'[{"name": "look"}]')
    assert call.messages[0].raw == make.encoded(HELLO)


# Replies

USAGE: dict[str, Any] = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 5},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 23,
}


def message(words: str, id: str = "msg_1") -> dict[str, Any]:
    content = [{"type": "output_text", "text": words, "annotations": []}]
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def function_call(arguments: str, name: str = "look") -> dict[str, Any]:
    return {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


OUTPUT = [
    {"id": "rs_1", "type": "reasoning", "summary": []},
    message("I look."),
    function_call('{"at":"a"}'),
]


def response(output: list[Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "error": None,
        "model": "gpt-x-1",
        "output": output,
        "usage": USAGE,
        **more,
    }


def test_a_whole_reply_is_read() -> None:
    reply = make.whole(DIALECT, response(OUTPUT))

    assert [(message.role, message.parts) for message in reply.messages] == [
        (Role.ASSISTANT, (Text("I look."),)),
        (Role.ASSISTANT, (ToolCall("call_1", "look", {"at": "a"}),)),
    ]
    assert (reply.stop_reason, reply.model) == ("completed", "gpt-x-1")
    assert (reply.response_id, reply.error, reply.complete) == ("resp_1", "", True)


def test_tokens_are_as_the_provider_counts_them() -> None:
    usage = make.whole(DIALECT, response(OUTPUT)).usage

    assert usage == Usage(11, 12, 5, None, 4, raw=usage.raw)
    assert b'"total_tokens":23' in usage.raw


@pytest.mark.parametrize(
    ("error", "word", "words"),
    [
        ({"type": "invalid_request_error", "code": "x", "message": "No"}, "invalid_request_error",
         "No"),
        ({"code": "server_error", "message": "Sorry"}, "server_error", "Sorry"),
        (None, "http_500", ""),
    ],
)  # fmt: skip
def test_an_error_is_the_providers_word(error: object, word: str, words: str) -> None:
    reply = make.whole(DIALECT, {"error": error}, status=500)

    assert (reply.error, reply.error_message, reply.messages) == (word, words, ())


# Streams


def told(output: list[Any], size: int = 3, end: str = "completed") -> list[dict[str, Any]]:
    """A response as the provider streams it, its texts in pieces of a size."""
    begun = response([], "in_progress", usage=None)
    events = [
        {"type": f"response.{word}", "response": begun} for word in ("created", "in_progress")
    ]
    for index, item in enumerate(output):
        at = {"output_index": index, "item_id": item["id"]}
        events.append(
            {"type": "response.output_item.added", **at, "item": {**item, **_empty(item)}}
        )
        for type, piece in _deltas(item, size):
            events.append({"type": f"response.{type}.delta", **at, "delta": piece})
        events.append({"type": "response.output_item.done", **at, "item": item})
    return [*events, {"type": f"response.{end}", "response": response(output, end)}]


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"content": []} if "content" in item else {"arguments": ""}
    return {**empty, "status": "in_progress"} if item["type"] != "reasoning" else {}


def _deltas(item: dict[str, Any], size: int) -> list[tuple[str, str]]:
    if item["type"] == "message":
        return [("output_text", p) for p in make.pieces(item["content"][0]["text"], size)]
    if item["type"] == "function_call":
        return [("function_call_arguments", p) for p in make.pieces(item["arguments"], size)]
    return []


def streamed(*events: dict[str, Any] | str) -> Reply:
    named = ((event["type"] if isinstance(event, dict) else "", event) for event in events)
    return make.streamed(DIALECT, [make.sse(*named)])


ARGUMENTS = st.dictionaries(st.text(max_size=5), make.JSON, max_size=3).map(
    lambda asked: make.encoded(asked).decode()
)
OUTPUTS = st.lists(
    st.builds(message, st.text(min_size=1, max_size=12))
    | st.builds(function_call, ARGUMENTS, st.text(min_size=1, max_size=5)),
    min_size=1,
    max_size=3,
)


@make.QUICK
@given(data=st.data(), output=OUTPUTS, size=st.integers(1, 9))
def test_a_streamed_reply_is_the_whole_reply_however_it_is_cut(
    data: st.DataObject, output: list[Any], size: int
) -> None:
    stream = make.sse(*((event["type"], event) for event in told(output, size)))
    chunks = data.draw(make.chunks(stream))

    whole = make.unordered(make.whole(DIALECT, response(output)))

    assert make.unordered(make.streamed(DIALECT, chunks)) == whole
    assert make.unordered(make.streamed(DIALECT, make.bytewise(stream))) == whole


def test_a_stream_is_complete_with_its_last_event_only() -> None:
    events = told(OUTPUT)

    assert not any(streamed(*events[:count]).complete for count in range(len(events)))
    assert streamed(*events).complete


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    events = told(OUTPUT[1:], 3)

    reply = streamed(*events[:5])

    assert [message.text for message in reply.messages] == ["I look"]
    assert (reply.stop_reason, reply.model) == ("in_progress", "gpt-x-1")
    assert (reply.response_id, reply.usage) == ("resp_1", Usage())


def test_an_item_that_is_done_is_whole_though_the_stream_breaks_off() -> None:
    reply = streamed(*told(OUTPUT[1:], 20)[:-1])

    assert [message.parts for message in reply.messages] == [
        (Text("I look."),),
        (ToolCall("call_1", "look", {"at": "a"}),),
    ]


def test_items_stand_for_an_output_that_the_last_event_leaves_out() -> None:
    events = told(OUTPUT)
    bare = {"type": "response.completed", "response": response([])}

    reply = streamed(*events[:-1], bare)

    assert reply.messages == make.whole(DIALECT, response(OUTPUT)).messages
    assert reply.usage == make.whole(DIALECT, response(OUTPUT)).usage


@pytest.mark.parametrize("end", ["incomplete", "failed"])
def test_a_reply_that_ends_badly_is_over_all_the_same(end: str) -> None:
    reply = streamed(*told(OUTPUT, end=end))

    assert (reply.stop_reason, reply.complete) == (end, True)


def test_a_response_that_fails_says_why() -> None:
    failed = response([], "failed", error={"code": "server_error", "message": "Sorry"})

    reply = streamed(*told(OUTPUT)[:2], {"type": "response.failed", "response": failed})

    assert (reply.error, reply.error_message) == ("server_error", "Sorry")


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "server_error", "message": "Sorry", "param": None},
        {"type": "error", "error": {"type": "server_error", "message": "Sorry"}},
    ],
    ids=["flat", "inside"],
)
def test_an_error_in_the_middle_of_a_stream_is_read_beside_what_was_said(
    error: dict[str, Any],
) -> None:
    reply = streamed(*told(OUTPUT[1:], 20)[:4], error)

    assert (reply.error, reply.error_message) == ("server_error", "Sorry")
    assert [message.text for message in reply.messages] == ["I look."]
    assert not reply.complete


def test_events_are_known_by_their_type_or_else_their_name() -> None:
    events = told(OUTPUT)
    bare = [{key: value for key, value in event.items() if key != "type"} for event in events]
    named = [(event["type"], data) for event, data in zip(events, bare, strict=True)]

    assert make.streamed(DIALECT, [make.sse(*named)]) == streamed(*events)


def test_events_that_nobody_knows_are_skipped() -> None:
    events = told(OUTPUT)

    reply = streamed(*events[:3], "7", "[]", "not JSON", {"type": "response.x"}, *events[3:])

    assert reply == streamed(*events)
