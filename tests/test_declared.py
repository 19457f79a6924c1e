"""What clients declare: how values are read at their places, and which of several counts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.identity.declared import MAX_ID_BYTES, Declarations, Declared, usable
from callerid.settings.load import load
from callerid.settings.tables import ClientTable
from callerid.turn import Because, HeaderList, Kind, Relation

SHIPPED = load().clients
PATH = "/v1/messages"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def read(
    rows: list[dict[str, Any]],
    headers: HeaderList = (),
    body: dict[str, Any] | None = None,
    path: str = PATH,
) -> Declared:
    """What some rows find in a request."""
    named = [{"name": f"row{at}", "source": "test", **row} for at, row in enumerate(rows)]
    table = msgspec.convert({"clients": named}, ClientTable)
    return declared(table, headers, body, path)


def declared(
    table: ClientTable, headers: HeaderList, body: dict[str, Any] | None = None, path: str = PATH
) -> Declared:
    body = HELLO | (body or {})
    return Declarations(table).read(make.request(body, path, headers), make.read(path, body))


# Values

SESSION = [{"session": ["header:x-id"]}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("s1", "s1"),
        ("  s1\t", "s1"),
        ("a b ~!", "a b ~!"),
        ("", ""),
        ("   ", ""),
        ("x" * MAX_ID_BYTES, "x" * MAX_ID_BYTES),
        (f" {'x' * MAX_ID_BYTES} ", "x" * MAX_ID_BYTES),
        ("x" * (MAX_ID_BYTES + 1), ""),
        ("s\x001", ""),
        ("s\n1", ""),
        ("s\x7f1", ""),
        ("sé1", ""),
        ("s\ud8001", ""),
    ],
)
def test_a_value_is_trimmed_and_must_be_a_plain_id(value: str, expected: str) -> None:
    assert read(SESSION, [("x-id", value)]).session == expected
    assert read([{"session": ["body:id"]}], body={"id": value}).session == expected


@make.QUICK
@given(st.text(max_size=20) | make.JSON)
def test_what_is_usable_is_plain_and_short(value: object) -> None:
    said = usable(value)

    assert said == "" or (said in str(value) and said.isascii() and said.isprintable())
    assert len(said) <= MAX_ID_BYTES


@pytest.mark.parametrize("value", [None, 7, True, ["s1"], {"id": "s1"}])
def test_what_is_no_text_is_no_value(value: object) -> None:
    assert read([{"session": ["body:id"]}], body={"id": value}).session == ""


# Places


def test_a_header_is_found_whatever_its_case_and_its_first_value_counts() -> None:
    assert read(SESSION, [("X-ID", "s1"), ("x-id", "s2")]).session == "s1"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("body:user", "u1"),
        ("body:metadata.session.id", "s1"),
        ("body:metadata.session", ""),
        ("body:metadata.session.id.more", ""),
        ("body:missing", ""),
        ("body:missing.id", ""),
        ("body:text#id", "s2"),
        ("body:text#deep.id", "s3"),
        ("body:text#missing", ""),
        ("body:user#id", ""),
        ("header:x-json#id", "s4"),
        ("header:x-json#list.id", ""),
        ("header:x-broken#id", ""),
        ("header:missing#id", ""),
        ("header:baggage=session.id", "s 6"),
        ("header:baggage=user", "u2"),
        ("header:baggage=session", ""),
        ("header:missing=session.id", ""),
        ("body:user~^u", "u"),
        ("body:user~^u([0-9])$", "1"),
        ("body:user~^x", ""),
        ("body:text#id~[0-9]", "2"),
        ("body:metadata~s", ""),
        ("system~You are an? ([a-z]+)", "clerk"),
        ("user~[A-Z]", "G"),
    ],
)
def test_a_place_is_a_header_or_a_path_through_the_body_and_a_part_of_it(
    place: str, expected: str
) -> None:
    body = {
        "user": "u1",
        "metadata": {"session": {"id": "s1"}},
        "text": json.dumps({"id": "s2", "deep": {"id": "s3"}}),
        "system": "You are a clerk.",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Go on"},
            {"role": "assistant", "content": "Sure"},
        ],
    }
    headers = [
        ("x-json", '{"id": " s4 ", "list": [1]}'),
        ("x-broken", '{"id": "s5"'),
        ("baggage", "a=b, session.id=s%206;secret , user = u2"),
    ]

    assert read([{"agent": [place]}], headers, body).agent == expected


def test_a_wrapped_request_is_looked_into() -> None:
    body = {"request": {"contents": [], "session_id": "s1"}, "user_prompt_id": "p1"}
    row = {"session": ["body:request.session_id"], "run": ["body:user_prompt_id"]}

    found = read([row], body=body, path="/v1internal:generateContent")

    assert (found.session, found.run) == ("s1", "p1")


@pytest.mark.parametrize("place", ["body:messages", "body:system", "body:tools", "body:system.id"])
def test_there_is_no_id_in_what_was_said(place: str) -> None:
    body = {"system": "You are a clerk.", "tools": [{"name": "look"}]}

    assert read([{"session": [place]}], body=body).session == ""


def test_of_several_places_the_first_with_a_value_counts() -> None:
    row = {"session": ["header:x-a", "header:x-b", "header:x-c"]}

    found = read([row], [("x-c", "3"), ("x-b", "2"), ("x-a", " ")])

    assert (found.session, found.place) == ("2", "x-b")


# Which row counts


def test_the_first_row_that_yields_a_session_decides_about_it() -> None:
    rows = [{"session": ["header:x-a"]}, {"session": ["header:x-b"]}, {"session": ["header:x-c"]}]

    found = read(rows, [("x-c", "3"), ("x-b", "2")])

    assert (found.session, found.place, found.because) == ("2", "x-b", Because.HEADER)


def test_all_headers_are_asked_before_any_body() -> None:
    rows = [{"session": ["body:id"], "run": ["body:run"]}, {"run": ["header:x-run"]}]

    found = read(rows, [("x-run", "r2")], {"id": "s1", "run": "r1"})

    assert (found.session, found.run, found.because) == ("", "r2", Because.HEADER)


def test_a_session_in_the_body_says_so() -> None:
    found = read([{"session": ["body:meta.id"]}], body={"meta": {"id": "s1"}})

    assert (found.session, found.place, found.because) == ("s1", "meta.id", Because.BODY)


def test_the_place_of_a_run_is_named_where_there_is_no_session() -> None:
    row = {"session": ["header:x-session"], "run": ["header:x-run"]}

    assert read([row], [("x-run", "r1")]).place == "x-run"
    assert read([row], [("x-run", "r1"), ("x-session", "s1")]).place == "x-session"


def test_nothing_is_declared_by_a_request_that_says_nothing() -> None:
    assert declared(SHIPPED, [("user-agent", "curl/8"), ("accept", "*/*")]) == Declared()


PARENTS = [
    {
        "session": ["header:x-id"],
        "fork": ["header:x-fork"],
        "parent": ["header:x-parent", "header:x-above"],
    }
]


@pytest.mark.parametrize(
    ("headers", "parent", "relation"),
    [
        ({"x-id": "s1", "x-parent": "p1"}, "p1", Relation.SUBAGENT),
        ({"x-id": "s1", "x-parent": "s1"}, "", None),
        ({"x-id": "s1", "x-parent": "s1", "x-above": "p2"}, "p2", Relation.SUBAGENT),
        ({"x-id": "s1", "x-above": "p2"}, "p2", Relation.SUBAGENT),
        ({"x-id": "s1", "x-parent": "p1", "x-fork": "f1"}, "f1", Relation.FORK),
        ({"x-id": "s1", "x-parent": "p1", "x-fork": "s1"}, "p1", Relation.SUBAGENT),
        ({"x-parent": "p1"}, "", None),
    ],
)
def test_a_parent_is_another_session_than_the_one_that_names_it(
    headers: dict[str, str], parent: str, relation: Relation | None
) -> None:
    found = read(PARENTS, tuple(headers.items()))

    assert (found.parent, found.relation) == (parent, relation)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-agent": "a1", "x-run": "r1"}, "r1.a1"),
        ({"x-agent": "a1"}, "a1"),
        ({"x-run": "r1"}, ""),
    ],
)
def test_an_id_that_is_unique_within_its_run_is_told_with_its_run(
    headers: dict[str, str], expected: str
) -> None:
    row = {"session": ["header:x-agent"], "run": ["header:x-run"], "within_run": True}

    assert read([row], tuple(headers.items())).session == expected


@pytest.mark.parametrize(("said", "expected"), [("1", True), ("0", False), ("", False)])
def test_a_client_may_say_that_a_call_is_a_sub_agents_and_not_whose(
    said: str, expected: bool
) -> None:
    row = {"run": ["header:x-run"], "subagent": ["header:x-sub~1"]}

    assert read([row], [("x-run", "r1"), ("x-sub", said)]).is_subagent is expected


def test_agent_and_names_may_come_from_other_rows_than_the_session() -> None:
    rows = [
        {"session": ["header:x-id"]},
        {"user_agent": "^thing/", "agent": ["header:x-agent"]},
        {"agent_name": ["header:x-name"]},
    ]
    headers = [("x-id", "s1"), ("user-agent", "thing/1"), ("x-agent", "a1"), ("x-name", "Bob")]

    found = read(rows, headers)

    assert (found.session, found.agent, found.agent_name) == ("s1", "a1", "Bob")
    assert found.client_name == "row1"


@pytest.mark.parametrize(
    ("agent", "expected"), [("thing/1", "s1"), ("other/1 thing/1", ""), ("", "")]
)
def test_a_row_for_one_client_is_for_that_client_only(agent: str, expected: str) -> None:
    rows = [{"user_agent": "^thing/", "session": ["header:x-id"]}]

    found = read(rows, [("user-agent", agent), ("x-id", "s1")])

    assert found.session == expected
    assert found.client_name == ("row0" if expected else "")


@pytest.mark.parametrize(("needed", "expected"), [("1", "s1"), (" ", ""), (None, "")])
def test_a_row_counts_only_where_all_that_it_needs_is_there(
    needed: str | None, expected: str
) -> None:
    rows = [{"needs": ["header:x-needed"], "session": ["header:x-id"]}]
    headers = [("x-id", "s1"), *([("x-needed", needed)] if needed else [])]

    assert read(rows, headers).session == expected


# Flags and kinds


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("true", True),
        (" TRUE ", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        ("0", False),
        ("No", False),
        ("off", False),
        ("maybe", None),
        ("", None),
    ],
)
def test_a_flag_is_a_word_for_true_or_false(word: str, expected: bool | None) -> None:
    assert read([{"final": "header:x-final"}], [("x-final", word)]).is_final is expected


def test_of_several_flags_the_first_that_says_something_counts() -> None:
    rows = [{"final": "header:x-a"}, {"final": "header:x-b"}, {"final": "header:x-c"}]

    assert read(rows, [("x-a", "maybe"), ("x-b", "0"), ("x-c", "1")]).is_final is False


def test_a_kind_is_told_by_a_place_that_has_a_value_or_by_which_one_it_has() -> None:
    rules = [
        {"place": "header:x-class", "is": {"a": "title", "b": "compaction"}},
        {"place": "system~generate a title", "kind": "title"},
        {"place": "user~Summarise", "kind": "compaction"},
        {"place": "header:x-warm", "kind": "prewarm"},
    ]
    said = [
        {"role": "user", "content": "Summarise nothing yet"},
        {"role": "assistant", "content": "Summarise"},
        {"role": "user", "content": "Go on"},
    ]

    def kind(headers: HeaderList = (), **body: Any) -> Kind | None:
        return read([{"kinds": rules}], headers, body).kind

    assert kind([("x-class", "a")]) is Kind.TITLE
    assert kind([("x-class", "b")], system="You generate a title.") is Kind.COMPACTION
    assert kind([("x-class", "c")], system="You generate a title.") is Kind.TITLE
    assert kind([("x-warm", "yes")]) is Kind.PREWARM
    assert kind(messages=[{"role": "user", "content": "Summarise this"}]) is Kind.COMPACTION
    assert kind(messages=said) is None
    assert kind(messages=[]) is None


def test_the_first_row_that_yields_a_kind_decides_about_it() -> None:
    rows = [
        {"kinds": [{"place": f"header:x-{kind}", "kind": kind}]} for kind in ("title", "router")
    ]

    assert read(rows, [("x-router", "1")]).kind is Kind.ROUTER
    assert read(rows, [("x-router", "1"), ("x-title", "1")]).kind is Kind.TITLE


# The shipped table

AGENT = "claude-cli/2.1.329 (external, cli)"
CODEX = "codex_cli_rs/0.169.0"
SHIPPED_CASES: dict[str, tuple[dict[str, str], dict[str, Any], dict[str, Any]]] = {
    "ours, all of them": (
        {
            "X-CallerID-Session-Id": "s",
            "x-callerid-root-session-id": "r",
            "x-callerid-parent-session-id": "p",
            "x-callerid-agent-id": "a",
            "x-callerid-session-final": "true",
        },
        {},
        {"session": "s", "run": "r", "parent": "p", "agent": "a", "is_final": True},
    ),
    "ours before others'": (
        {"x-session-id": "generic", "x-dynamo-session-id": "d", "x-callerid-session-id": "s"},
        {},
        {"session": "s"},
    ),
    "dynamo": (
        {"x-dynamo-session-id": "d", "x-dynamo-parent-session-id": "d"},
        {},
        {"session": "d", "parent": ""},
    ),
    "a main agent of claude code": (
        {"user-agent": AGENT, "X-Claude-Code-Session-Id": "run"},
        {},
        {"session": "", "run": "run", "client_name": "claude-code"},
    ),
    "a sub-agent of claude code": (
        {
            "user-agent": AGENT,
            "X-Claude-Code-Session-Id": "run",
            "x-claude-code-agent-id": "a1",
            "x-claude-code-agent-type": "Explore",
        },
        {},
        {"session": "a1", "run": "run", "parent": "run", "agent_name": "Explore"},
    ),
    "claude code in its body": (
        {"user-agent": AGENT},
        {"metadata": {"user_id": '{"device_id": "d", "session_id": "run"}'}},
        {"run": "run", "because": Because.BODY, "place": "metadata.user_id#session_id"},
    ),
    "a compaction of claude code": (
        {"user-agent": AGENT, "x-claude-code-request-class": "compaction"},
        {},
        {"kind": Kind.COMPACTION},
    ),
    "a sub-agent of codex": (
        {
            "user-agent": CODEX,
            "session-id": "run",
            "thread-id": "t2",
            "x-codex-turn-metadata": '{"parent_thread_id": "t1", "request_kind": "turn"}',
        },
        {},
        {"session": "t2", "run": "run", "parent": "t1", "kind": None, "client_name": "codex"},
    ),
    "any program": (
        {"x-session-id": "s", "x-parent-session-id": "p"},
        {},
        {"session": "s", "parent": "p", "place": "x-session-id"},
    ),
}


@pytest.mark.parametrize(("headers", "body", "expected"), SHIPPED_CASES.values(), ids=SHIPPED_CASES)
def test_the_shipped_table_knows(
    headers: dict[str, str], body: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = msgspec.structs.asdict(declared(SHIPPED, tuple(headers.items()), body))

    assert {name: found[name] for name in expected} == expected


# Ids that are too long

LONG = "x" * (MAX_ID_BYTES + 1)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-session-id", "s1")], ""),
        ([("X-Dynamo-Session-Id", LONG)], "x-dynamo-session-id"),
        ([("x-session-id", LONG)], "x-session-id"),
        ([("x-session-id", "s1"), ("x-dynamo-session-id", LONG)], "x-dynamo-session-id"),
        ([("x-session-id", LONG), ("x-dynamo-session-id", "s1")], ""),
        ([("x-session-id", LONG), ("x-session-id", "s1")], "x-session-id"),
        ([("x-something", LONG), ("cookie", LONG), ("x-dynamo-parent-session-id", LONG)], ""),
        ([("baggage", f"session.id=s1,note={LONG}")], ""),
        ([("thread-id", LONG)], ""),
        ([("thread-id", LONG), ("user-agent", "codex_exec/0.169.0")], "thread-id"),
    ],
)
def test_a_header_is_too_long_where_it_would_have_named_the_session(
    headers: list[tuple[str, str]], expected: str
) -> None:
    request = make.request(HELLO, PATH, tuple(headers))

    assert Declarations(SHIPPED).long_id(request) == expected
