"""A file of any earlier version is brought up to date, and read; a newer one is left alone."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

import make
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.settings.load import load
from callerid.traces import bodies, migrations
from callerid.traces.database import BadDatabase, open_database
from callerid.traces.restore import restore
from callerid.traces.rows import Exactness

NAMES = [migration.name for migration in migrations.schema._migrations]
WITHOUT_LOCKS = NAMES[: NAMES.index("m004_exact_bodies")]  # nobody knows if their writers live
SAID = ("Hello", "Good day to you, whoever you are.", "And now?")


def written(path: Path, newest: str) -> None:
    """A file as a version wrote it: one session, two calls, the second in flight."""
    later = NAMES[NAMES.index(newest) + 1 :]
    with closing(Database(path)) as database:
        migrations.schema.apply(database, stop_before=later)
        with database.conn:
            _write_calls(database)


def _write_calls(database: Database) -> None:
    roles = ("user", "assistant", "user")
    messages = [
        {"id": f"m{at}", "role": role, "text": text, "body": _message(role, text)}
        for at, (role, text) in enumerate(zip(roles, SAID, strict=True))
    ]
    tools = '[{"name":"look","input_schema":{}},{"name":"listen","input_schema":{}}]'
    messages.append({"id": "tools", "role": "tools", "text": None, "body": tools})
    database.table("messages").insert_all(messages)
    database.table("agents").insert(
        {"id": "agent_1", "name": "tutor", "first_seen": 1000.0, "last_seen": 1002.0}
    )
    session = {"id": "sess_1", "root_session_id": "sess_1", "agent_id": "agent_1"}
    found = {"because": "new", "confidence": 0.9, "evidence": "an opening not heard before"}
    seen = {"first_seen": 1000.0, "last_seen": 1002.0, "client_scope": "scope"}
    database.table("sessions").insert(session | found | seen)
    later = {"reply_exactness": "absent", "request_exactness": "equal"}
    calls = database.table("calls")
    for number, state in enumerate(("ok", "in_flight"), 1):
        known = {name: value for name, value in later.items() if name in calls.columns_dict}
        calls.insert(_call(number, state) | found | known)
        later["request_exactness"] = "redacted"
    references = [("c1", 0, 0, "m0"), ("c1", 1, 0, "m1"), ("c2", 0, 1, "m1"), ("c2", 0, 2, "m2")]
    database.conn.executemany("insert into call_messages values (?, ?, ?, ?)", references)


def _message(role: str, text: str) -> str:
    return json.dumps({"role": role, "content": text}, separators=(",", ":"))


def _call(number: int, state: str) -> dict[str, Any]:
    members = [["model", '"m"'], ["tools", "<tools>"], ["messages", "<messages>"]]
    if number == 2:
        members.append(["metadata", '{"token":"***"}'])
    return {
        "id": f"c{number}",
        "session_id": "sess_1",
        "agent_id": "agent_1",
        "kind": "main",
        "state": state,
        "dialect": "anthropic",
        "is_stream": 0,
        "started_at": 1000.0 + number,
        "ended_at": 1001.5 if state == "ok" else None,
        "status": 200 if state == "ok" else None,
        "method": "POST",
        "scheme": "https",
        "host": "llm.example",
        "port": 443,
        "path": "/v1/messages",
        "request_headers": "[]",
        "stamped_headers": "[]",
        "members": json.dumps(members),
        "tools_message_id": "tools",
        "base_call_id": "c1" if number == 2 else None,
        "base_length": 1 if number == 2 else 0,
        "request_bytes": 100,
    }


@pytest.fixture(params=NAMES[:-1])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "traces.db"
    written(path, request.param)
    return path


def test_a_file_of_an_earlier_version_has_the_same_schema_afterwards(
    earlier: Path, tmp_path: Path
) -> None:
    open_database(tmp_path / "new.db").conn.close()

    open_database(earlier).conn.close()

    assert _schema(earlier) == _schema(tmp_path / "new.db")


def _schema(path: Path) -> set[Any]:
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute(
            "select tables.type, tables.name, columns.name from sqlite_schema as tables"
            " left join pragma_table_info(tables.name) as columns"
        )
        return set(columns)


def test_what_an_earlier_version_recorded_is_read(earlier: Path) -> None:
    with closing(open_database(earlier)) as database:
        first, second = (bodies.request_body(database, id) for id in ("c1", "c2"))
        replies = bodies.reply_messages_of(database, "c1")
        reply = bodies.reply_body(database, "c1")
        transcript = list(database.query("select text from conversation"))

    assert first.content is not None
    assert second.content is not None
    asked = json.loads(first.content)
    assert [tool["name"] for tool in asked["tools"]] == ["look", "listen"]
    assert [message["content"] for message in asked["messages"]] == ["Hello"]
    assert [m["content"] for m in json.loads(second.content)["messages"]] == list(SAID)
    assert (first.exactness, second.exactness) == (Exactness.EQUAL, Exactness.REDACTED)
    assert [json.loads(raw)["content"] for raw in replies] == ["Good day to you, whoever you are."]
    assert reply == bodies.Body(None, Exactness.ABSENT)
    assert [row["text"] for row in transcript] == list(SAID)


@pytest.mark.parametrize("earlier", WITHOUT_LOCKS, indirect=True)
def test_a_call_that_an_earlier_version_left_in_flight_is_interrupted(earlier: Path) -> None:
    with closing(open_database(earlier)) as database:
        states = [row["state"] for row in database.query("select state from calls order by id")]

    assert states == ["ok", "interrupted"]


def test_a_session_that_an_earlier_version_recorded_goes_on(earlier: Path) -> None:
    serial = itertools.count(1)
    board = Switchboard(load(), lambda prefix: f"{prefix}_{next(serial)}")
    guard = Guard()

    restore(earlier, board, guard, 1010.0)

    said = [{"user": "Hello"}, {"assistant": SAID[1]}, {"user": "Or else?"}]
    body = make.body(make.Dialect.ANTHROPIC, said, tools=["look", "listen"])
    request = make.request(body)
    client = type(request.client)("scope")
    turn = board.take(make.replace(request, client=client), 1011.0)
    assert not guard.counts
    assert turn is not None
    assert turn.identity is not None
    assert "sess_1" in (turn.identity.session_id, turn.identity.parent_session_id)


def test_a_step_that_was_taken_is_not_changed_afterwards() -> None:
    """Files of these versions are out there: add a step, and leave these alone."""
    assert {
        path.stem[:3]: sha256(path.read_bytes()).hexdigest()[:16] for path in migrations.STEPS
    } == {
        "001": "c7afa18da6cb07ad",
        "002": "f48d409981019597",
        "003": "b9a2a671ffa239f1",
        "004": "d95d53e14918b4c7",
        "005": "e07994d1aa38f439",
        "006": "e6b459197c1785f3",
        "007": "e9d8d69a3bef4005",
        "008": "1c5cec3923c186c1",
        "009": "b7522a8dbeda0583",
        "010": "20c0f69fb3ec4b3d",
    }


def test_migrations_are_numbered_and_only_ever_added_to() -> None:
    numbers = [int(name[1:4]) for name in NAMES]

    assert numbers == sorted(set(numbers))


def test_a_newer_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    written(path, NAMES[0])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('callerid', 'm999_from_the_future', '')"
        )
    before = _schema(path)

    with pytest.raises(BadDatabase, match="m999_from_the_future"):
        open_database(path)

    assert _schema(path) == before


OPENING = """
import sys
from pathlib import Path
from callerid.traces.database import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(Path(sys.argv[1])).conn.close()
"""


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "earlier"])
def test_proxies_that_start_at_once_bring_a_file_up_to_date_together(
    tmp_path: Path, is_new: bool
) -> None:
    path = tmp_path / "traces.db"
    if not is_new:
        written(path, NAMES[0])
    proxies = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        for _ in range(3)
    ]  # fmt: skip
    for proxy in proxies:
        assert proxy.stdout
        proxy.stdout.readline()

    said = [proxy.communicate("go\n", timeout=30) for proxy in proxies]

    assert [proxy.returncode for proxy in proxies] == [0, 0, 0], said
