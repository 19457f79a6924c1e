"""The views of traces.db, and datasette with config/datasette.yaml, answer as they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlite_utils import Database

from callerid import files
from callerid.archive.search import search
from callerid.traces import bodies, searching
from callerid.traces.database import open_database
from office import anthropic_reply, office, text

CONFIG = files.CONFIG / "datasette.yaml"
VIEWS = (
    "agent_summary", "conversation", "daily_usage", "prompts", "session_summary", "session_tree",
    "slowest_calls", "spans", "tool_usage", "unused_messages",
)  # fmt: skip
ROW = '"cost_usd_with_children"'
ERRAND = "Measure the wind at the harbour mouth and report its force and its direction, please."


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lead that sends two helpers, one of which uses a tool twice."""
    path = tmp_path_factory.mktemp("views") / "traces.db"
    with office(path) as at:

        def say(system: str, messages: list[Any], *content: dict[str, Any], seconds: float) -> None:
            body = {"model": "claude-sonnet-4-6", "system": system, "messages": messages}
            at.call(
                "/v1/messages", body, anthropic_reply(*content), host="api.anthropic.com",
                seconds=seconds,
            )  # fmt: skip

        asked = [{"role": "user", "content": "May we sail today?"}]
        errand = {"type": "tool_use", "id": "t1", "name": "send", "input": {"task": ERRAND}}
        say("You are a harbour master.", asked, errand, seconds=1)
        look = {"type": "tool_use", "id": "t2", "name": "look", "input": {"at": "the vane"}}
        again = {"type": "tool_use", "id": "t3", "name": "look", "input": {"at": "the sea"}}
        say("You are a wind gauge.", [{"role": "user", "content": ERRAND}], look, again, seconds=5)
        told = [*asked, {"role": "assistant", "content": [errand]}]
        told.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "Force 4, west"}]})  # fmt: skip
        say("You are a harbour master.", told, text("Yes, with a reef."), seconds=2)
    return path


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(open_database(path)) as opened:
        yield opened


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in database.query(query)]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_answers(database: Database, view: str) -> None:
    assert view in database.view_names()
    list(database.query(f"select * from {view}"))


def test_there_is_no_view_that_is_not_tested(database: Database) -> None:
    assert set(database.view_names()) == {*VIEWS, "searchable"}


def test_the_tree_has_children_below_their_parents_with_what_they_cost(database: Database) -> None:
    found = rows(
        database,
        "select tree, depth, relation, calls, round(cost_usd, 6), round(cost_usd_with_children, 6)"
        " from session_tree",
    )
    one = (100 * 3 + 20 * 15) / 1e6

    assert found == [
        ("harbour-master", 0, None, 2, round(2 * one, 6), round(3 * one, 6)),
        ("  wind-gauge", 1, "subagent", 1, round(one, 6), round(one, 6)),
    ]


def test_tools_are_counted_by_how_often_a_model_asked_for_them(database: Database) -> None:
    assert rows(database, "select tool, agent, times from tool_usage order by tool") == [
        ("look", "wind-gauge", 2),
        ("send", "harbour-master", 1),
    ]


def test_agents_and_days(database: Database) -> None:
    query = "select agent, sessions, calls, input_tokens, models from agent_summary order by agent"
    assert rows(database, query) == [
        ("harbour-master", 1, 2, 200, "claude-sonnet-4-6"),
        ("wind-gauge", 1, 1, 100, "claude-sonnet-4-6"),
    ]
    assert rows(database, "select provider_name, calls, sessions from daily_usage") == [
        ("anthropic", 3, 2)
    ]


def test_the_slowest_call_comes_first(database: Database) -> None:
    assert rows(database, "select seconds, first_byte_seconds from slowest_calls") == [
        (5.0, 2.5),
        (2.0, 1.0),
        (1.0, 0.5),
    ]


def test_spans_have_the_names_of_opentelemetry(database: Database) -> None:
    (first, *_) = database.query("select * from spans order by started_at")
    assert first["gen_ai.operation.name"] == "chat"
    assert first["gen_ai.provider.name"] == "anthropic"
    assert first["gen_ai.usage.input_tokens"] == 100
    assert first["gen_ai.conversation.id"] == first["session.id"]
    assert first["error.type"] is None


def test_a_transcript_in_one_line(database: Database) -> None:
    (session,) = rows(database, "select session_id from session_tree where depth = 0")
    query = f"select role, text from conversation where session_id = '{session[0]}'"
    assert [role for role, _ in rows(database, query)] == ["user", "assistant", "user", "assistant"]


def test_the_index_of_words_goes_on_after_a_vacuum_and_forgets(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "traces.db"
    copy.write_bytes(path.read_bytes())
    found = "select count(*) from messages_fts where messages_fts match 'reef'"
    with closing(open_database(copy)) as database:
        while searching.index(database, most=1):
            pass
        assert rows(database, found) == [(1,)]
        database.execute("delete from call_messages")
        database.execute("delete from messages where text like '%harbour mouth%'")
        database.conn.commit()
        database.vacuum()
        assert not searching.index(database)
        assert rows(database, found) == [(1,)]
        assert rows(database, found.replace("reef", "direction")) == [(0,)]
        (check,) = database.query("pragma integrity_check")
        assert check["integrity_check"] == "ok"


def test_messages_that_take_the_numbers_of_deleted_ones_are_found(tmp_path: Path) -> None:
    row = {"role": "user", "body": "{}"}
    with closing(open_database(tmp_path / "traces.db")) as database:
        table = database.table("messages")
        table.insert_all({"id": f"a{n}", "text": f"old {n}", **row} for n in range(10))
        assert not searching.index(database)
        with database.conn:
            database.execute("delete from messages where id >= 'a5'")
            database.execute("update facts set value = value + 1 where name = 'deletions'")
        table.insert_all({"id": f"b{n}", "text": f"new {n}", **row} for n in range(7))
        while searching.index(database):
            pass
        count = "select count(*) from messages_fts where messages_fts match '{}'"
        assert rows(database, count.format("new")) == [(7,)]
        assert rows(database, count.format("old")) == [(5,)]


def test_a_piece_is_bounded_by_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "CHARACTERS_AT_ONCE", 100)
    with closing(open_database(tmp_path / "traces.db")) as database:
        table = database.table("messages")
        table.insert_all(
            {"id": f"a{n}", "role": "user", "body": "{}", "text": "word " * (n * 10)}
            for n in range(6)
        )
        pieces = 1
        while searching.index(database):
            pieces += 1
        assert pieces == 5
        assert rows(database, "select count(*) from searched") == [(6,)]


def test_datasette_is_a_ready_browser(path: Path) -> None:
    from datasette.app import Datasette

    with closing(open_database(path)) as database:
        while searching.index(database):
            pass
        (session,) = rows(database, "select session_id from session_tree where depth = 0")
    metadata = yaml.safe_load(CONFIG.read_text("utf-8"))

    async def pages() -> dict[str, tuple[int, str]]:
        served = Datasette([str(path)], metadata=metadata)
        await served.invoke_startup()
        described = metadata["databases"]["traces"]
        names = ["", *described["tables"]]
        asked = [f"/traces/{name}" if name else "/traces" for name in names]
        asked += [f"/traces/{name}" for name in described["queries"]]
        asked += [
            f"/traces/transcript.json?_shape=array&session_id={session[0]}",
            "/traces/words.json?_shape=array&words=reef",
            f"/traces/run.json?_shape=array&root_session_id={session[0]}",
            "/traces/messages?_search=reef",
        ]
        got = {}
        for url in asked:
            answer = await served.client.get(url)
            got[url] = answer.status_code, answer.text
        return got

    got = asyncio.run(pages())

    assert {url: status for url, (status, _) in got.items() if status != 200} == {}
    assert (
        "Yes, with a reef."
        in got[f"/traces/transcript.json?_shape=array&session_id={session[0]}"][1]
    )
    (hit,) = json.loads(got["/traces/words.json?_shape=array&words=reef"][1])
    assert "«reef»" in hit["snippet"]
    assert (
        got[f"/traces/run.json?_shape=array&root_session_id={session[0]}"][1].count("claude") == 0
    )
    assert "Session tree" in got["/traces/session_tree"][1]


def test_datasettes_file_speaks_of_what_there_is(database: Database) -> None:
    described = yaml.safe_load(CONFIG.read_text("utf-8"))["databases"]["traces"]["tables"]
    there = {*database.table_names(), *database.view_names()}

    assert set(described) <= there
    for name, told in described.items():
        columns = {column.name for column in database[name].columns}
        assert set(told.get("columns", {})) <= columns
        assert {told.get("sort_desc", "") or min(columns)} <= columns


def test_words_that_a_model_streamed_in_parts_are_one_text(tmp_path: Path) -> None:
    path, pieces = tmp_path / "traces.db", ["The high", "est ti", "de is in Sep", "tember."]
    pieces.append(" And this is long enough to be folded out of the JSON: \u00e9t\u00e9, \u6f6e.")
    chunks = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]}
        for piece in pieces
    ]
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)
    address = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    asked: list[Any] = [{"role": "user", "parts": [{"text": "When?"}, {"text": "And where?"}]}]
    with office(path) as at:
        id, _ = at.call(address, {"contents": asked}, stream)
        said = [*asked, {"role": "model", "parts": [{"text": piece} for piece in pieces]}]
        body = {"contents": [*said, {"role": "user", "parts": [{"text": "Thanks."}]}]}
        two, _ = at.call(address, body, stream)
    with closing(open_database(path)) as database:
        texts = [text for _, text in rows(database, "select role, text from conversation")]
        assert texts == ["When?\nAnd where?", "".join(pieces), "Thanks.", "".join(pieces)]
        while searching.index(database):
            pass
        assert len(list(search(database, '"highest tide is in September"'))) == 1
        assert bodies.reply_body(database, id).content == stream
        assert bodies.request_body(database, two).content == json.dumps(body).encode()
