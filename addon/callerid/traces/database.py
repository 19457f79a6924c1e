"""traces.db: opening it, and reading back the calls that were recorded."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from callerid.traces import bodies
from callerid.traces.migrations import schema
from callerid.turn import Because, Client, Identity, Kind, Relation, Request
from callerid.wire import wirejson

BUSY_MILLISECONDS = 5000  # another process may be writing: wait for it in the writer thread


class BadDatabase(ValueError):
    """A traces.db that cannot be used; the message says why and what to do."""


class Recorded(NamedTuple):
    """One call on record, as it can be identified again.

    `replies` is the JSON of the reply's messages; `has_failed` is False for a call that was
    answered or is (by the record) still in flight.
    """

    id: str
    request: Request
    identity: Identity
    status: int
    replies: list[bytes]
    response_id: str
    started_at: float
    ended_at: float | None
    has_failed: bool


def open_database(path: Path) -> Database:
    """Open (and create, mode 0600, or bring up to date) a traces.db; raises BadDatabase."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with ExitStack() as undo:
            connection = sqlite3.connect(path, timeout=BUSY_MILLISECONDS / 1000)
            undo.callback(connection.close)
            database = _prepared(connection, path)
            undo.pop_all()
    except (OSError, sqlite3.Error) as error:
        raise BadDatabase(f"{path}: cannot be used as traces.db: {error}") from None
    return database


def _prepared(connection: sqlite3.Connection, path: Path) -> Database:
    _refuse_foreign(connection, path)
    connection.execute("pragma auto_vacuum = incremental")  # of a new file; see retention.py
    connection.execute("pragma secure_delete = on")  # what is deleted is overwritten
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    database = Database(connection)
    _refuse_newer(database, path)
    if schema.pending(database):
        connection.execute("begin immediate")  # another proxy may be about to do the same
        with connection:
            schema.apply(database)
    return database


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's database before anything in it is touched."""
    rows = connection.execute("select name from sqlite_master where type = 'table' order by name")
    tables = [str(name) for (name,) in rows]
    if tables and schema.migrations_table not in tables:
        raise BadDatabase(
            f"{path}: is no traces.db, but a database of another program "
            f"(it has {', '.join(tables[:3])}); nothing was changed in it"
        )


def _refuse_newer(database: Database, path: Path) -> None:
    with closing(Database(memory=True)) as empty:
        ours = {migration.name for migration in schema.pending(empty)}
    foreign = {migration.name for migration in schema.applied(database)} - ours
    if foreign:
        raise BadDatabase(
            f"{path}: was written by a newer callerid ({', '.join(sorted(foreign))} is not known "
            "here); update callerid, or use another file: --set callerid_db=PATH"
        )


def digest_key(database: Database) -> bytes:
    """The key with which this database's credentials are digested."""
    (row,) = database.query("select value from facts where name = 'credential_digest_key'")
    return bytes(row["value"])


def keep_digest_key(path: Path, key: bytes) -> None:
    """Let this database's credentials be digested with a key from now on; raises BadDatabase."""
    with closing(open_database(path)) as database, database.conn:
        words = "update facts set value = ? where name = 'credential_digest_key'"
        database.conn.execute(words, [key])


_CALLS = """
select calls.*, sessions.client_scope, sessions.client_name, sessions.parent_session_id,
    sessions.relation, sessions.root_session_id, agents.name as agent_name
from calls
join sessions on sessions.id = calls.session_id
left join agents on agents.id = calls.agent_id
"""
_MEASURED = """
select called.*,
    (select count(*) from call_messages where call_id = called.id and is_reply = 0) as own_length,
    exists (select 1 from call_messages where call_id = called.id and is_reply = 1) as is_answered
from ({calls}) as called
"""
_LIVE_CALLS = (
    _MEASURED.format(calls=f"{_CALLS} where sessions.last_seen >= :since")
    + "order by called.started_at desc limit :limit"
)
_CALLS_OF = (
    _MEASURED.format(
        calls=f"{_CALLS} where calls.session_id in (select value from json_each(:ids))"
    )
    + "order by called.started_at"
)
_ALL_CALLS = f"""{_CALLS}
where calls.started_at between coalesce(:since, 0) and coalesce(:until, 1e18)
order by calls.started_at
"""


def live_calls(
    database: Database, since: float, most_calls: int, most_bytes: int
) -> list[dict[str, object]]:
    """The newest calls of sessions heard of since a time, the oldest of them first.

    They are so few that their messages, each of them once, are about so many bytes or less.
    """
    rows: list[dict[str, object]] = []
    sessions: set[object] = set()
    size = 0
    for row in database.query(_LIVE_CALLS, {"since": since, "limit": most_calls}):
        own, length = row["own_length"], row["base_length"] + row["own_length"]
        is_known = row["session_id"] in sessions and length > 0
        size += row["request_bytes"] * own // length if is_known else row["request_bytes"]
        sessions.add(row["session_id"])
        if size > most_bytes:
            break
        rows.append(row)
    return rows[::-1]


def calls_of(database: Database, session_ids: Iterable[str]) -> list[dict[str, object]]:
    """The calls of some sessions, the oldest first, as `live_calls` has them."""
    ids = wirejson.encode(list(session_ids)).decode()
    return list(database.query(_CALLS_OF, {"ids": ids}))


class Bound(NamedTuple):
    """Where a session was sent last: a URL, when that call ended, whether that closed it."""

    session_id: str
    upstream: str
    heard: float
    is_closed: bool


_BOUND = """
select session_id, upstream, is_final and status < 400 as is_closed,
    max(coalesce(ended_at, started_at)) as heard
from calls where upstream is not null and status is not null and started_at >= ?
group by session_id order by heard
"""


def bindings(database: Database, since: float) -> Iterator[Bound]:
    """Where the sessions heard of since a time were sent last, the oldest first."""
    for row in database.query(_BOUND, [since]):
        yield Bound(row["session_id"], row["upstream"], row["heard"], bool(row["is_closed"]))


def all_calls(
    database: Database, since: float | None = None, until: float | None = None
) -> Iterator[Recorded]:
    """Every call that belongs to a session and began between two times, the oldest first."""
    prompt = bodies.prompts_of(database)
    for row in list(database.query(_ALL_CALLS, {"since": since, "until": until})):
        body = bodies.body_with(row, bodies.messages_of(database, str(row["id"])), prompt)
        yield recorded(database, row, body)


def recorded(database: Database, row: Mapping[str, object], body: bytes) -> Recorded:
    """A call on record, with a body; raises NotJSON."""
    request = Request(
        method=str(row["method"]),
        scheme=str(row["scheme"]),
        host=str(row["host"]),
        port=int(str(row["port"])),
        path=str(row["path"]),
        headers=bodies.pairs(row["request_headers"]),
        body=body,
        client=Client(
            scope=_text(row["client_scope"]),
            connection=_text(row["client_connection"]),
            address=_text(row["client_address"]),
            user_agent=_text(row["user_agent"]),
        ),
    )
    identity = Identity(
        session_id=_text(row["session_id"]),
        agent_id=_text(row["agent_id"]),
        root_session_id=_text(row["root_session_id"]),
        because=Because(_text(row["because"])),
        confidence=float(str(row["confidence"])),
        evidence=_text(row["evidence"]),
        kind=Kind(_text(row["kind"])),
        agent_name=_text(row["agent_name"]),
        parent_session_id=_text(row["parent_session_id"]),
        relation=Relation(_text(row["relation"])) if row["relation"] else None,
        client_name=_text(row["client_name"]),
        is_final=bool(row["is_final"]),
    )
    return Recorded(
        str(row["id"]),
        request,
        identity,
        int(str(row["status"] or 0)),
        bodies.reply_messages_of(database, str(row["id"])),
        _text(row["response_id"]),
        float(str(row["started_at"])),
        float(str(row["ended_at"])) if row["ended_at"] else None,
        row["state"] not in ("ok", "in_flight"),
    )


def _text(value: object) -> str:
    return str(value) if value is not None else ""
