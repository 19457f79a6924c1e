"""Forgets sessions for good: their calls, what only they said, and all traces of it in the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

from sqlite_utils import Database

from callerid.traces.deleting import delete_some
from callerid.traces.retention import give_back
from callerid.wire import wirejson

_EVER = float("inf")
_TRIES = 50  # for the log to be emptied, while a proxy writes into it
_TRY_SECONDS = 0.1
_MERGED_AT_ONCE = 500  # pages of the full-text index
_REST_SECONDS = 0.005  # between two transactions: a proxy that waits to write comes in

_RUN = "select id from sessions where root_session_id = ? or id = ?"
_BEFORE = "select id from sessions where last_seen < ?"
_WOULD = """
with gone as materialized (
    select id from calls where session_id in (select value from json_each(:ids))
), said as materialized (
    select distinct message_id from call_messages where call_id in (select id from gone)
)
select (select count(*) from gone),
    (select count(*) from said where not exists (
        select 1 from call_messages where call_messages.message_id = said.message_id
            and call_id not in (select id from gone)))
"""
_NOTE = """
insert into corrections (kind, session_id, other_session_id, was, made_at)
values ('forget', ?1, ?1, '{}', ?2)
"""
_BLANK = """
update corrections set was = '{}', given_name = null
where session_id in (select value from json_each(:ids))
    or other_session_id in (select value from json_each(:ids))
"""


class Forgotten(NamedTuple):
    """What goes: sessions, their calls, and the messages that no other call holds."""

    sessions: list[str]
    calls: int
    messages: int


def run_of(database: Database, session_id: str) -> list[str]:
    """The sessions of the run that a session belongs to."""
    query = "select root_session_id from sessions where id = ?"
    (root,) = database.conn.execute(query, [session_id]).fetchone()
    return [id for (id,) in database.conn.execute(_RUN, [root, session_id])]


def heard_before(database: Database, moment: float) -> list[str]:
    """The sessions that were not heard of since a time."""
    return [id for (id,) in database.conn.execute(_BEFORE, [moment])]


def would_forget(database: Database, ids: list[str]) -> Forgotten:
    """What would go with some sessions."""
    row = database.conn.execute(_WOULD, {"ids": wirejson.encode(ids).decode()}).fetchone()
    return Forgotten(ids, *row)


def forget(database: Database, ids: Iterable[str], now: float) -> bool:
    """Delete sessions, and what is left of them on the pages of the file.

    In small steps: a proxy that runs goes on writing. False where it kept the log of the file
    (traces.db-wal) from being emptied; then the words are there until it is written over.
    Raises sqlite3.Error.
    """
    connection, ids = database.conn, list(ids)
    for id in ids:
        while not delete_some(connection, id, _EVER):
            time.sleep(_REST_SECONDS)
    with connection:
        connection.executemany(_NOTE, [(id, now) for id in ids])
        connection.execute(_BLANK, {"ids": wirejson.encode(ids).decode()})
    _merge_index(connection)
    while give_back(database, kept=0):
        time.sleep(_REST_SECONDS)
    return _empty_log(connection)


def _merge_index(connection: sqlite3.Connection) -> None:
    """Write the full-text index anew, in which words stay that nothing holds any more."""
    with connection:  # a negative number begins, others go on: https://sqlite.org/fts5.html
        _merge(connection, -_MERGED_AT_ONCE)
    while True:
        before = connection.total_changes
        with connection:
            _merge(connection, _MERGED_AT_ONCE)
        if connection.total_changes - before < 2:
            return
        time.sleep(_REST_SECONDS)


def _merge(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute("insert into messages_fts (messages_fts, rank) values ('merge', ?)", [pages])


def _empty_log(connection: sqlite3.Connection) -> bool:
    for _ in range(_TRIES):
        (is_busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        if not is_busy:
            return True
        time.sleep(_TRY_SECONDS)
    return False
