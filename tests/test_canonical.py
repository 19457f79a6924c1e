"""Canonical form: how clients change what they have sent before does not matter, words do."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Dialect, Message, Role, Text, ToolCall, ToolResult, Unit
from callerid.wire import canonical

HISTORY = {
    Dialect.ANTHROPIC: "messages",
    Dialect.OPENAI_CHAT: "messages",
    Dialect.OPENAI_RESPONSES: "input",
    Dialect.GEMINI: "contents",
}
MARK = {"cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
REMINDER = "<system-reminder>\nToday is Monday.\n</system-reminder>"

WORDS = st.text(st.sampled_from("abcxyz"), min_size=1, max_size=6)
SENTENCES = st.lists(WORDS, min_size=1, max_size=5)
SIGNS = st.characters(codec="utf-8") | st.sampled_from("’“…—ﬁ e\u0301\u00ad\u00a0")
SPOKEN = st.text(SIGNS, max_size=40).filter(
    lambda words: "<" not in unicodedata.normalize("NFKD", words)
)


def units(dialect: Dialect, messages: list[Any]) -> list[Unit]:
    """What was said in a history as it goes over the wire."""
    call = make.read(make.PATHS[dialect], {"model": "m", HISTORY[dialect]: messages})
    return canonical.in_order(call.messages)


def blocks(*content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def tool_use(id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "look", "input": {"at": "a", "n": 1}, **more}


def tool_result(content: Any, id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def user(words: str) -> dict[str, Any]:
    return blocks(text(words))


def assistant(*content: Any) -> dict[str, Any]:
    return blocks(*content, role="assistant")


# What a client sent first, and what it sent in its place later.
ANTHROPIC: dict[str, tuple[list[Any], list[Any]]] = {
    "a cache marker on text": ([user("Hi")], [blocks(text("Hi", **MARK))]),
    "a cache marker on a tool call": ([assistant(tool_use())], [assistant(tool_use(**MARK))]),
    "a cache marker on a result": (
        [blocks(tool_result("9"))],
        [blocks(tool_result([text("9", **MARK)], **MARK))],
    ),
    "a cache marker on an image": ([blocks(IMAGE)], [blocks({**IMAGE, **MARK})]),
    "a marker with a lifetime": (
        [user("Hi")],
        [blocks(text("Hi", cache_control={"type": "ephemeral", "ttl": "1h"}))],
    ),
    "a string for a list of one text": ([user("Hi")], [{"role": "user", "content": "Hi"}]),
    "a string for a result's list": (
        [blocks(tool_result([text("9")]))],
        [blocks(tool_result("9"))],
    ),
    "another tool id": (
        [assistant(tool_use("toolu_1")), blocks(tool_result("9", "toolu_1"))],
        [assistant(tool_use("fc_2")), blocks(tool_result("9", "fc_2"))],
    ),
    "thinking left out": ([assistant(THINKING, text("Hi"))], [assistant(text("Hi"))]),
    "another signature": (
        [assistant(THINKING, text("Hi"))],
        [assistant({**THINKING, "signature": "YWJj"}, text("Hi"))],
    ),
    "redacted thinking": (
        [assistant({"type": "redacted_thinking", "data": "x"}, text("Hi"))],
        [assistant(text("Hi"))],
    ),
    "a reminder before the prompt": ([user("Hi")], [blocks(text(REMINDER), text("Hi"))]),
    "a reminder in the prompt": ([user("Hi")], [user(f"{REMINDER}\nHi")]),
    "a reminder in a result": (
        [blocks(tool_result("9"))],
        [blocks(tool_result(f"9\n\n{REMINDER}"))],
    ),
    "another reminder": ([user(f"{REMINDER}Hi")], [user(f"{REMINDER.replace('Mon', 'Tues')}Hi")]),
    "a block with attributes": (
        [user("Hi")],
        [user('<system-reminder at="9">x</system-reminder>Hi')],
    ),
    "a slash command": (
        [user("Hi")],
        [
            blocks(
                text("<local-command-caveat>Ignore it.</local-command-caveat>"),
                text("<command-name>/cost</command-name><command-args></command-args>"),
                text("<local-command-stdout>\x1b[2m$1\x1b[22m</local-command-stdout>"),
                text("Hi"),
            )
        ],
    ),
    "a system message": (
        [user("Hi")],
        [{"role": "system", "content": "It is Monday."}, user("Hi")],
    ),
    "results of parallel tools in another order": (
        [blocks(tool_result("1", "toolu_1"), tool_result("2", "toolu_2"))],
        [blocks(tool_result("2", "toolu_2"), tool_result("1", "toolu_1"))],
    ),
    "a model's text cut elsewhere": (
        [assistant(text("One, two, three."))],
        [assistant(text("One, tw"), text("o, three."))],
    ),
    "what a server tool did": (
        [
            assistant(
                text("Let me look."),
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                text("Found."),
            )
        ],
        [assistant(text("Let me look."), text("Found."))],
    ),
}
ASKED = '{"at": "a", "n": [1, {"x": 2, "y": 3}]}'
ASKED_AGAIN = '{"n":[1,{"y":3,"x":2}],"at":"a"}'


def chat_call(id: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    call = {"id": id, "type": "function", "function": function}
    return {"role": "assistant", "tool_calls": [call], **more}


def chat_result(id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


CHAT: dict[str, tuple[list[Any], list[Any]]] = {
    "a string for a list": ([{"role": "user", "content": "Hi"}], [user("Hi")]),
    "a string for a result's list": ([chat_result("c", "9")], [chat_result("c", [text("9")])]),
    "arguments in other order, with other spaces": (
        [chat_call("c", ASKED)],
        [chat_call("c", ASKED_AGAIN)],
    ),
    "arguments that are an object": ([chat_call("c", ASKED)], [chat_call("c", json.loads(ASKED))]),
    "no arguments at all": ([chat_call("c", "{}")], [chat_call("c", "")]),
    "another tool id": (
        [chat_call("c", ASKED), chat_result("c", "9")],
        [chat_call("d", ASKED), chat_result("d", "9")],
    ),
    "null for no text": (
        [chat_call("c", ASKED, content="")],
        [chat_call("c", ASKED, content=None)],
    ),
    "reasoning echoed": (
        [{"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}],
        [{"role": "assistant", "content": "Hi"}],
    ),
    "reasoning written into the text": (
        [{"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi"}],
        [{"role": "assistant", "content": "Hi"}],
    ),
    "members that a library adds": (
        [{"role": "assistant", "content": "Hi", "provider_specific_fields": {"a": 1}}],
        [{"content": "Hi", "role": "assistant", "refusal": None, "annotations": []}],
    ),
    "a developer message": (
        [{"role": "developer", "content": "Be brief."}, user("Hi")],
        [user("Hi")],
    ),
    "a refusal in a list": (
        [assistant({"type": "refusal", "refusal": "No."})],
        [{"role": "assistant", "content": "No."}],
    ),
}


def item(words: str, role: str, **more: Any) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"role": role, "content": [{"type": kind, "text": words}], **more}


def item_call(call_id: str, arguments: str, **more: Any) -> dict[str, Any]:
    called = {"type": "function_call", "call_id": call_id, "name": "look", "arguments": arguments}
    return called | more


RESPONSES: dict[str, tuple[list[Any], list[Any]]] = {
    "an item's id, status and type": (
        [item("Hi", "assistant", type="message", id="msg_1", status="completed")],
        [item("Hi", "assistant")],
    ),
    "annotations": (
        [item("Hi", "assistant")],
        [assistant({"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []})],
    ),
    "a string for a list": ([item("Hi", "user")], [{"role": "user", "content": "Hi"}]),
    "a text's type": ([item("Hi", "user")], [user("Hi")]),
    "what a client passes through": (
        [item("Hi", "user")],
        [item("Hi", "user", internal_chat_message_metadata_passthrough={"turn_id": "t"})],
    ),
    "arguments written anew": (
        [item_call("c", ASKED, id="fc_1", status="completed")],
        [item_call("c", ASKED_AGAIN)],
    ),
    "reasoning left out": (
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, user("Hi")],
        [user("Hi")],
    ),
    "tools as an item": ([{"type": "additional_tools", "tools": []}, user("Hi")], [user("Hi")]),
    "context written anew": (
        [item("<environment_context>\n<cwd>/a</cwd>\n</environment_context>", "user"), user("Hi")],
        [item("<environment_context>\n<cwd>/b</cwd>\n</environment_context>", "user"), user("Hi")],
    ),
    "a result as a list": (
        [{"type": "function_call_output", "call_id": "c", "output": "9"}],
        [{"type": "function_call_output", "call_id": "c", "output": [text("9")]}],
    ),
}


def said(words: str, role: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": words, **more}]}


def called(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "model", "parts": [{"functionCall": call, **more} for call in calls]}


def answered(*results: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": [{"functionResponse": result} for result in results]}


LOOK = {"name": "look", "args": {"at": "a", "n": 1}}
FOUND = {"name": "look", "response": {"output": "9"}}
NOT_FOUND = {"name": "look", "response": {"error": "none"}}
SESSION = "<session_context>\nToday is Monday.\na.txt\n</session_context>"

GEMINI: dict[str, tuple[list[Any], list[Any]]] = {
    "an invented id": ([called(LOOK)], [called({**LOOK, "id": "look_17_0"})]),
    "the id of a result": ([answered(FOUND)], [answered({**FOUND, "id": "u#9", "name": "l"})]),
    "the order of arguments": (
        [called(LOOK)],
        [called({"args": {"n": 1, "at": "a"}, "name": "look"})],
    ),
    "no thought signature": ([called(LOOK, thoughtSignature="c2ln")], [called(LOOK)]),
    "no thoughts": (
        [said("Hm.", "model", thought=True), said("Hi", "model")],
        [said("Hi", "model")],
    ),
    "the session's context": (
        [said(f"{SESSION}\n\nHi", "user")],
        [said(f"{SESSION.replace('a.txt', 'b.txt')}\n\nHi", "user")],
    ),
    "results in another order": (
        [answered(FOUND, NOT_FOUND)],
        [answered(NOT_FOUND), answered(FOUND)],
    ),
    "a result sent twice": ([answered(FOUND, NOT_FOUND)], [answered(FOUND, NOT_FOUND, FOUND)]),
    "a result alone sent twice": ([answered(FOUND)], [answered(FOUND), answered(FOUND)]),
    "a stream's pieces kept": (
        [said("Hello there", "model")],
        [{"role": "model", "parts": [{"text": "Hel"}, {"text": "lo th"}, {"text": "ere"}]}],
    ),
    "names in snake case": (
        [called(LOOK)],
        [{"role": "model", "parts": [{"function_call": LOOK}]}],
    ),
    "a picture's signature": (
        [{"role": "user", "parts": [{"inlineData": {"data": "iVBO"}}]}],
        [{"role": "user", "parts": [{"inlineData": {"data": "iVBO"}, "thoughtSignature": "c"}]}],
    ),
}


@pytest.mark.parametrize(
    ("dialect", "before", "after"),
    [
        pytest.param(dialect, *changed, id=f"{dialect}: {name}")
        for dialect, table in zip(make.PATHS, (ANTHROPIC, CHAT, RESPONSES, GEMINI), strict=True)
        for name, changed in table.items()
    ],
)
def test_what_clients_change_does_not_matter(
    dialect: Dialect, before: list[Any], after: list[Any]
) -> None:
    assert units(dialect, before) == units(dialect, after) != []


@pytest.mark.parametrize(
    "written",
    [
        " Don't stop - it's 'café'...\n",
        "Don't\t stop\r\n-  it's 'café'...",
        "Don’t stop – it’s ‘café’…",
        "Don't stop — it's 'cafe\u0301'...",
        "Don't\u00a0stop - it's 'ca\u00adfé'...",
        "Ｄｏｎ't stop - it's 'café'...",
    ],
    ids=["edges", "white space", "typography", "decomposed", "soft hyphen", "full width"],
)
@pytest.mark.parametrize("role", [Role.USER, Role.ASSISTANT])
def test_how_words_are_written_does_not_matter(written: str, role: Role) -> None:
    plain = "Don't stop - it's 'café'..."

    assert unit(role, Text(written)) == unit(role, Text(plain))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("words", ["", " \n", REMINDER, f"{REMINDER}\n{REMINDER}"])
def test_what_says_nothing_is_no_unit(role: Role, words: str) -> None:
    assert canonical.units_of(role, [Text(words)], make.INJECTED) == ()


def test_system_messages_are_no_history() -> None:
    assert canonical.units_of(Role.SYSTEM, [Text("Be brief.")], make.INJECTED) == ()


# What must stay different


def unit(role: Role, *parts: Any) -> Unit:
    """The one unit of one message."""
    (only,) = canonical.units_of(role, parts, make.INJECTED)
    return only


@make.QUICK
@given(one=SENTENCES, other=SENTENCES)
def test_other_words_of_a_person_are_another_unit(one: list[str], other: list[str]) -> None:
    units = [unit(Role.USER, Text(" ".join(words))) for words in (one, other)]

    assert (units[0] == units[1]) == (one == other)


@make.QUICK
@given(one=SENTENCES, other=SENTENCES)
def test_other_letters_of_a_model_are_another_unit(one: list[str], other: list[str]) -> None:
    units = [unit(Role.ASSISTANT, Text(" ".join(words))) for words in (one, other)]

    assert (units[0] == units[1]) == ("".join(one) == "".join(other))


@make.QUICK
@given(one=make.JSON, other=make.JSON)
def test_other_arguments_are_another_unit(one: Any, other: Any) -> None:
    units = [unit(Role.ASSISTANT, ToolCall("id", "look", {"at": value})) for value in (one, other)]
    are_equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert (units[0] == units[1]) == are_equal


DIFFERENT: dict[str, tuple[Unit, Unit]] = {
    "a person and a model": (unit(Role.USER, Text("Hi")), unit(Role.ASSISTANT, Text("Hi"))),
    "a person and a tool": (unit(Role.USER, Text("9")), unit(Role.USER, ToolResult("c", "9"))),
    "big and small letters": (unit(Role.USER, Text("us")), unit(Role.USER, Text("US"))),
    "other punctuation": (unit(Role.USER, Text("Stop.")), unit(Role.USER, Text("Stop?"))),
    "other accents": (unit(Role.USER, Text("pate")), unit(Role.USER, Text("pâté"))),
    "another tool": (
        unit(Role.ASSISTANT, ToolCall("c", "look", {})),
        unit(Role.ASSISTANT, ToolCall("c", "find", {})),
    ),
    "another result": (
        unit(Role.TOOL, ToolResult("c", "9")),
        unit(Role.TOOL, ToolResult("c", "8")),
    ),
    "another picture": (
        unit(Role.USER, canonical.opaque("image", {"data": "a"})),
        unit(Role.USER, canonical.opaque("image", {"data": "b"})),
    ),
    "a picture and its name": (
        unit(Role.USER, canonical.opaque("image", {})),
        unit(Role.USER, Text("image")),
    ),
    "a block that nobody injects": (
        unit(Role.USER, Text("<b>1</b> Hi")),
        unit(Role.USER, Text("Hi")),
    ),
    "a block that has no end": (
        unit(Role.USER, Text("<system-reminder> Hi")),
        unit(Role.USER, Text("Hi")),
    ),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_stays_different(one: Unit, other: Unit) -> None:
    assert one.digest != other.digest


def test_the_order_of_messages_matters() -> None:
    one, other = user("one"), user("two")

    assert units(Dialect.ANTHROPIC, [one, other]) != units(Dialect.ANTHROPIC, [other, one])


def test_results_of_two_rounds_keep_their_order() -> None:
    first, second = (blocks(tool_result(content)) for content in "12")
    asked = assistant(tool_use())

    one = units(Dialect.ANTHROPIC, [asked, first, asked, second])
    other = units(Dialect.ANTHROPIC, [asked, second, asked, first])

    assert one != other


@make.QUICK
@given(texts=st.lists(WORDS, unique=True, max_size=5), seed=st.integers())
def test_results_of_one_round_are_in_one_order(texts: list[str], seed: int) -> None:
    results = [Message(Role.TOOL, (), b"", (unit(Role.TOOL, ToolResult("", t)),)) for t in texts]
    shuffled = random.Random(seed).sample(results, len(results))

    in_order = canonical.in_order(shuffled)

    assert in_order == canonical.in_order(results)
    assert {unit.digest for unit in in_order} == {message.units[0].digest for message in results}


# The plain form itself


@make.QUICK
@given(SPOKEN)
def test_plain_words_are_plain_already(words: str) -> None:
    plain = canonical.plain(words, make.INJECTED)

    assert canonical.plain(plain, make.INJECTED) == plain
    assert plain == " ".join(plain.split())


@make.QUICK
@given(SPOKEN)
def test_unicode_forms_are_one(words: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, words) for form in ("NFC", "NFD"))

    assert canonical.plain(composed, make.INJECTED) == canonical.plain(decomposed, make.INJECTED)


def test_a_unit_weighs_what_was_said() -> None:
    assert unit(Role.USER, Text(f"{REMINDER} Hi  there")).weight == len("Hithere")
    assert unit(Role.ASSISTANT, Text("Hi  there")).weight == len("Hithere")
    assert unit(Role.ASSISTANT, ToolCall("c", "look", {"a": 1})).weight == len('look{"a":1}')


def test_blocks_without_end_do_not_hold_up_reading() -> None:
    began = time.process_time()

    canonical.plain("<system-reminder>" * 8_000, make.INJECTED)

    assert time.process_time() - began < 0.5  # seconds; one pass over them takes a hundredth


def test_a_text_of_very_many_pieces_is_put_together_at_once() -> None:
    pieces = [
        {"type": "text", "text": f"piece {number} of a long text "} for number in range(20_000)
    ]
    whole = "".join(piece["text"] for piece in pieces)

    began = time.process_time()
    cut = units(Dialect.ANTHROPIC, [assistant(*pieces)])

    assert time.process_time() - began < 1  # seconds; hashing at every piece took several
    assert cut == units(Dialect.ANTHROPIC, [assistant(text(whole))])
