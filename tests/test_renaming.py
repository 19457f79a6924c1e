"""A session's own name: given by a person, seen wherever the session is, and never lost."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callerid import Traces
from callerid.archive import corrections, forgetting
from callerid.archive.sessions import sessions
from callerid.commands.cli import cli
from callerid.traces.database import open_database
from callerid.turn import Relation
from office import Office, anthropic_reply, office, text
from test_corrections import settled
from viewed import ASK, call, master, mitmweb

NOW = 1_790_000_100.0
NAME = "Spring tides: größte 潮"
MORE = ({"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And tomorrow?"})


def run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--db", str(path)])


def said(at: Office, topic: str) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": f"Tell me of {topic}, please."}]}
    return at.call("/v1/messages", body, anthropic_reply(text(f"Of {topic}: deep.")))[1].session_id


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, str, str]:
    """A traces.db with two sessions, the first of which has a name."""
    path = tmp_path / "traces.db"
    with office(path) as at:
        one, other = said(at, "rivers"), said(at, "bridges")
    result = run(path, "rename", one, f"  {NAME}\n")
    assert result.output == f"{one} is now called {NAME}\n"
    return path, one, other


def name_of(path: Path, id: str) -> str:
    with Traces(path) as traces:
        return traces.session(id).name


def test_it_is_seen_in_lists_trees_transcripts_and_by_programs(two: tuple[Path, str, str]) -> None:
    path, one, other = two

    for words in (("sessions",), ("tree",), ("show", one)):
        assert run(path, *words).output.count(NAME) == 1
    assert NAME not in run(path, "show", other).output
    listed = json.loads(run(path, "sessions", "--json").output)
    assert {each["id"]: each["name"] for each in listed} == {one: NAME, other: ""}
    assert json.loads(run(path, "show", one, "--json").output)["name"] == NAME
    with Traces(path) as traces:
        session = traces.session(one)
        assert (session.name, traces.session(other).name) == (NAME, "")
        assert type(session).from_dict(session.to_dict()).name == NAME
        assert session.fork().name == ""
    with closing(open_database(path)) as database:
        for view in ("session_summary", "session_tree"):
            query = f"select session_id from {view} where given_name = ?"
            assert database.execute(query, [NAME]).fetchall() == [(one,)]


def test_it_is_a_correction_on_record_and_can_be_taken_back(two: tuple[Path, str, str]) -> None:
    path, one, _ = two

    assert run(path, "rename", one, "Low tides").exit_code == 0
    assert run(path, "rename", one, "").output == f"{one} has no name of its own now\n"

    assert name_of(path, one) == ""
    with closing(open_database(path)) as database:
        rows = list(database.query("select * from corrections order by number"))
    assert [(row["kind"], row["session_id"], row["given_name"]) for row in rows] == [
        ("rename", one, NAME), ("rename", one, "Low tides"), ("rename", one, None),
    ]  # fmt: skip
    assert [json.loads(row["was"])["given_name"] for row in rows] == [None, NAME, "Low tides"]
    assert all(abs(row["made_at"] - time.time()) < 60 for row in rows)


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 121, "at most 120 characters, got 121"), ("a\x1b[31mred", "control characters")],
)
def test_no_name_is_too_long_or_commands_a_terminal(
    two: tuple[Path, str, str], name: str, why: str
) -> None:
    path, one, _ = two
    result = run(path, "rename", one, name)

    assert result.exit_code == 1
    assert why in result.output
    assert "\x1b" not in result.output
    assert name_of(path, one) == NAME


def test_what_goes_on_does_not_lose_it(two: tuple[Path, str, str]) -> None:
    path, one, other = two
    with office(path, now=time.time()) as at:
        ids = [("x-callerid-session-id", one)]
        body = {"model": "m", "messages": [{"role": "user", "content": "And the lakes?"}]}
        at.call("/v1/messages", body, anthropic_reply(text("Deep.")), headers=tuple(ids))
    assert name_of(path, one) == NAME

    with closing(open_database(path)) as database:
        corrections.link(database, one, other, Relation.SUBAGENT, NOW)
        corrections.merge(database, other, one, NOW)
    assert name_of(path, other) == NAME


def test_what_is_split_off_has_none_and_a_name_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        declared = (("x-callerid-session-id", "ours"),)
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        reply = anthropic_reply(text("Hi."))
        at.call("/v1/messages", body, reply, headers=declared)
        later, _ = at.call("/v1/messages", body, reply, headers=declared)
        other = said(at, "rivers")
    with closing(open_database(path)) as database:
        corrections.rename(database, "ours", "One", NOW)
        corrections.rename(database, other, "Other", NOW)
        corrections.split(database, later, "sess_new", NOW)
        corrections.merge(database, "ours", other, NOW)
        assert {each.id: each.name for each in sessions(database)} == {
            "ours": "One",
            "sess_new": "",
        }


@pytest.mark.parametrize("format", ["jsonl", "har", "traces.db"])
def test_it_goes_along_to_another_traces_db(
    two: tuple[Path, str, str], tmp_path: Path, format: str
) -> None:
    path, one, other = two
    file, again = tmp_path / f"out.{format}", tmp_path / "again.db"
    if format == "traces.db":
        file = path
        assert run(again, "import", str(file)).exit_code == 0
        run(path, "rename", other, "Bridges")  # later than its calls were taken
    else:
        run(path, "export", "--format", format, "-o", str(file))
    assert run(again, "import", str(file)).exit_code == 0

    assert name_of(again, one) == NAME
    assert name_of(again, other) == ("Bridges" if format == "traces.db" else "")


def test_a_name_that_is_there_stays_when_others_are_taken_in(
    two: tuple[Path, str, str], tmp_path: Path
) -> None:
    path, one, _ = two
    again = tmp_path / "again.db"
    run(again, "import", str(path))
    run(again, "rename", one, "Ours")

    run(again, "import", str(path))

    assert name_of(again, one) == "Ours"


def test_what_is_forgotten_leaves_no_name(two: tuple[Path, str, str]) -> None:
    path, one, _ = two
    with closing(open_database(path)) as database:
        forgetting.forget(database, [one], NOW)
    for file in path.parent.glob("traces.db*"):
        assert b"Spring tides" not in file.read_bytes()


def test_a_proxy_that_runs_tells_it_and_one_that_starts_does(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with mitmweb(tmp_path) as (addon, view):
        first = call(addon, view, master(ASK), anthropic_reply(text("Yes.")))
        session = str(first.metadata["callerid.session"])
        assert NAME not in first.comment
        settled(path, 1)
        assert run(path, "rename", session, NAME).exit_code == 0
        assert addon._setup is not None
        watch = addon._setup._corrected
        assert watch is not None
        asyncio.run(watch.look())
        assert not watch._waiting  # nothing for memory to take in
        again = call(addon, view, master(ASK, *MORE), anthropic_reply(text("No.")))
        assert f"· {NAME} · {session} ·" in again.comment
    with mitmweb(tmp_path) as (addon, view):
        after = call(addon, view, master(ASK, *MORE), anthropic_reply(text("No.")))
        assert after.metadata["callerid.session"] == session
        assert f"· {NAME} · {session} ·" in after.comment
