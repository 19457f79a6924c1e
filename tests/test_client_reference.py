"""Every block of code of a page that documents sessions runs as it stands, and is on record."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from callerid import Traces
from callerid.client import Message, Session
from client_blocks import blocks, parse
from lab import Answer, Asked, FakeProvider, Proxy, ToolCall, newest_text, tool_results

PAGE = Path(__file__).parents[2] / "shared" / "reference" / "agent-sdk-sessions.txt"
FAILS = "Please fail"
KEY = "sk-lab-0123456789abcdef"
SUMMARY = {"key_points": ["a first", "a second"], "conclusion": "a last"}

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="../shared/reference/agent-sdk-sessions.txt is not there"
)


class ConversationSummary(BaseModel):
    """What one of the blocks asks for, and does not define."""

    key_points: list[str]
    conclusion: str


class Database:
    """What one of the blocks saves a session in."""

    def __init__(self) -> None:
        self.saved: dict[str, Any] = {}

    def save_session(self, session_id: str, data: Any) -> None:
        self.saved[session_id] = data


class FakeRedis:
    """As much of Redis as the page's own store asks for."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def set(self, name: str, value: str) -> None:
        self._kept[name] = value

    def get(self, name: str) -> str | None:
        return self._kept.get(name)

    def delete(self, name: str) -> int:
        return int(self._kept.pop(name, None) is not None)

    def keys(self, pattern: str) -> list[str]:
        return [name for name in self._kept if name.startswith(pattern.rstrip("*"))]


def said_to(asked: Asked) -> list[str]:
    """What users have said in a request."""
    messages = asked.json["messages"]
    return [str(message["content"]) for message in messages if message["role"] == "user"]


def model(asked: Asked) -> Answer:
    """A model that repeats what it was told so far: what it knows, the request has said."""
    tools = [each["function"]["name"] for each in asked.json.get("tools", [])]
    if newest_text(asked) == FAILS:
        return Answer("The lab refuses this.", status=400)
    if results := tool_results(asked):
        return Answer(f"Your orders: {results[0]}")
    if "final_result" in tools:
        return Answer(tool_calls=(ToolCall("final_result", dict(SUMMARY)),))
    if "get_user_orders" in tools and "recent orders" in newest_text(asked):
        return Answer(tool_calls=(ToolCall("get_user_orders", {"user_id": "user-123"}),))
    return Answer("I was told: " + " / ".join(said_to(asked)))


class Played(NamedTuple):
    """What the blocks left behind, and the traces of it."""

    names: dict[str, Any]
    sessions: list[Session]
    printed: str
    traces: Path


def changed(block: str) -> CodeType:
    """A block with its import lines changed, and nothing else."""
    source = re.sub(
        r"^from agent(\.\w+)? import ", r"from callerid.client\1 import ", block, flags=re.MULTILINE
    )
    return compile(source, "<page>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def execute(block: str, names: dict[str, Any]) -> None:
    work = eval(changed(block), names)
    if asyncio.iscoroutine(work):
        asyncio.run(work)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, addon_script: Path) -> Played:
    folder = tmp_path_factory.mktemp("page")
    names: dict[str, Any] = {
        "Session": Session, "Message": Message, "db": Database(), "user_input": FAILS,
        "ConversationSummary": ConversationSummary,
    }  # fmt: skip
    sessions: list[Session] = []
    printed = io.StringIO()
    with (
        FakeProvider(model) as provider,
        Proxy(addon_script, provider=provider) as proxy,
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
    ):
        patch.chdir(folder)
        patch.setenv("OPENAI_API_KEY", KEY)
        for name, value in proxy.environment().items():
            patch.setenv(name, value)
        found, _ = blocks(PAGE.read_text("utf-8"))
        for block in found:
            if "> 20" in block:
                for at in range(11):
                    names["session"].add_message(Message.user(f"Question {at}"))
                    names["session"].add_message(Message.assistant(f"Answer {at}"))
            execute(block, names)
            if names.get("session") not in sessions:
                sessions.append(names["session"])
        names["session"].run("Are you still there?")  # after the one that failed
        made = names["create_support_session"]("user-9")
        made.run("Hello")
        sessions += [made, names["alt_session"], names["new_session"]]
        proxy.stop()
        traces = folder / "traces.db"
        with (
            closing(sqlite3.connect(proxy.traces)) as there,
            closing(sqlite3.connect(traces)) as here,
        ):
            there.backup(here)
    return Played(names, sessions, printed.getvalue(), traces)


def rows(played: Played, query: str, *words: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(played.traces)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query, words)]


def test_all_of_the_page_is_either_a_block_or_prose() -> None:
    found, prose = blocks(PAGE.read_text("utf-8"))

    assert len(found) == 23
    assert not [
        line for line in prose if re.search(r"[=(]\w*\"|session\.|import |^\s{2,}\w+\.", line)
    ]
    for block in found:
        parse(block)


def test_the_sessions_on_record_are_those_of_the_program(played: Played) -> None:
    used = {session.session_id for session in played.sessions if session.messages}
    recorded = {row["id"] for row in rows(played, "select id from sessions")}

    assert recorded >= used - {played.names["new_session"].session_id}
    assert "alternative-plan" in recorded
    assert {row["because"] for row in rows(played, "select because from sessions")} == {"header"}


def test_what_was_said_is_known_later(played: Played) -> None:
    first = played.sessions[0]

    assert first.messages[-1].text == (
        "I was told: My name is Alice / I'm a software engineer / What do you know about me?"
    )
    with Traces(played.traces) as traces:
        assert [m.text for m in traces.session(first.session_id).messages] == [
            m.text for m in first.messages
        ]


def test_a_fork_has_its_parent_and_a_history_of_its_own(played: Played) -> None:
    (fork,) = rows(played, "select * from sessions where id = 'alternative-plan'")
    original = played.names["alt_session"].parent_id
    with Traces(played.traces) as traces:
        ours = [m.text for m in traces.session("alternative-plan").messages]
        theirs = [m.text for m in traces.session(original).messages]

    assert (fork["parent_session_id"], fork["relation"]) == (original, "fork")
    assert "left at 4" in fork["evidence"]
    assert ours[:4] == theirs[:4]
    assert "Osaka" in ours[4]
    assert "Osaka" in ours[-1]
    assert not any("Osaka" in text for text in theirs)
    assert "Tokyo and Kyoto" in theirs[5]


def test_a_tool_ran_and_its_answer_went_back(played: Played) -> None:
    asked = rows(played, "select * from tool_calls where name = 'get_user_orders'")
    (call,) = rows(played, "select session_id from calls where id = ?", asked[0]["call_id"])
    with Traces(played.traces) as traces:
        said = traces.session(call["session_id"]).messages

    assert len(asked) == 1
    assert any(m.role == "tool" and "Laptop" in json.dumps(m.to_dict()) for m in said)
    assert any(m.text.startswith("Your orders: ") for m in said)


def test_streamed_turns_are_on_record_as_streams(played: Played) -> None:
    streamed = rows(
        played,
        "select text, is_stream, state from calls join call_messages on call_id = calls.id"
        " join messages on messages.id = message_id where not is_reply and role = 'user'"
        " and text in ('Write a story', 'Write a poem') group by text order by started_at",
    )

    assert [(row["text"], row["is_stream"], row["state"]) for row in streamed] == [
        ("Write a story", 1, "ok"), ("Write a poem", 1, "ok"),
    ]  # fmt: skip
    assert "/ Write a story" in played.printed
    assert "/ Write a poem" in played.printed


def test_a_schema_is_answered_with_its_object(played: Played) -> None:
    assert str(SUMMARY["key_points"]) in played.printed
    assert played.names["summary_response"].output == ConversationSummary(**SUMMARY)
    assert "a last" in played.names["new_session"].system
    finals = rows(played, "select distinct call_id from tool_calls where name = 'final_result'")
    assert len(finals) == 2


def test_the_call_that_failed_is_on_record_but_not_in_the_history(played: Played) -> None:
    (failed,) = rows(played, "select * from calls where state != 'ok'")
    session = played.names["session"]
    with Traces(played.traces) as traces:
        said = traces.session(session.session_id).messages

    assert failed["status"] == 400
    assert failed["session_id"] == session.session_id
    assert "Error: " in played.printed
    assert "The lab refuses this." in played.printed
    assert FAILS not in [message.text for message in [*session.messages, *said]]
    assert said[-1].text.endswith("Are you still there?")


def test_sessions_that_were_kept_go_on(played: Played) -> None:
    restored, saved = played.names["restored"], played.names["db"].saved

    assert saved[restored.session_id]["session_id"] == restored.session_id
    assert "Tokyo and Kyoto" in restored.messages[-1].text
    assert restored.messages[-1].text.endswith("Where were we?")


def test_the_pages_own_store_keeps_sessions(played: Played) -> None:
    store = played.names["RedisStore"](FakeRedis())
    data = played.sessions[0].to_dict()

    store.save("one", data)

    assert Session.from_dict(store.load("one"), played.names["agent"]).messages == (
        played.sessions[0].messages
    )
    assert store.list_sessions() == ["one"]
    assert store.delete("one")
    assert store.load("one") is None


def test_no_key_is_on_record(played: Played) -> None:
    assert KEY.encode() not in played.traces.read_bytes()
