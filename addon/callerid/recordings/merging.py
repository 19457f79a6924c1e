"""Takes another proxy's traces.db into ours: its rows as they are, with their ids and identities.

Messages are named by their content, so what both know is stored once. A session that both have is
one session, from when it was first heard of to when it was last.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from callerid.traces.database import BadDatabase, open_database


class Merged(NamedTuple):
    """How many calls and sessions are new."""

    calls: int
    sessions: int


# Calls whose end was not on record when they were last merged are taken again.
_NEW = """
create temp table new_calls as
select id, session_id, agent_id from other.calls where id not in (
    select id from main.calls where state not in ('in_flight', 'interrupted')
)
"""
_LAST_HEARD = """
update main.{table} set
    first_seen = min({table}.first_seen, theirs.first_seen),
    last_seen = max({table}.last_seen, theirs.last_seen)
from other.{table} as theirs
where theirs.id = {table}.id and theirs.id in (select {key} from temp.new_calls)
"""
_NAMED = """
update main.sessions set given_name = theirs.given_name from other.sessions as theirs
where theirs.id = sessions.id and sessions.given_name is null and theirs.given_name is not null
"""
_WITH_CALLS = {"agents": "agent_id", "sessions": "session_id"}
_OF_CALLS = {"call_messages": "call_id", "reply_bodies": "call_id", "calls": "id"}


def merge(path: Path, other: Path) -> Merged:
    """Write into a traces.db what another has more; raises BadDatabase."""
    open_database(other).conn.close()  # brought up to date, if need be
    with closing(open_database(path)) as database:
        try:
            return _merge(database, other)
        except sqlite3.Error as error:
            raise BadDatabase(f"{path}: {other} cannot be merged into it: {error}") from None


def _merge(database: Database, other: Path) -> Merged:
    if _same_file(database, other):
        return Merged(0, 0)
    connection = database.conn
    connection.execute("attach database ? as other", [str(other)])
    connection.execute(_NEW)
    before = _counts(database)
    with connection:
        connection.execute("begin immediate")
        _copy(database, "messages", "insert or ignore", "")
        for table, key in _WITH_CALLS.items():
            where = f"where id in (select {key} from temp.new_calls)"
            _copy(database, table, "insert or ignore", where)
            connection.execute(_LAST_HEARD.format(table=table, key=key))
        connection.execute(_NAMED)
        for table, key in _OF_CALLS.items():
            where = f"where {key} in (select id from temp.new_calls)"
            _copy(database, table, "insert or replace", where)
    after = _counts(database)
    return Merged(after.calls - before.calls, after.sessions - before.sessions)


def _copy(database: Database, table: str, insert: str, where: str) -> None:
    query = f"select name from pragma_table_info('{table}')"
    columns = ", ".join(name for (name,) in database.execute(query).fetchall())
    database.execute(
        f"{insert} into main.{table} ({columns}) select {columns} from other.{table} {where}"
    )


def _counts(database: Database) -> Merged:
    query = "select (select count(*) from main.calls), (select count(*) from main.sessions)"
    return Merged(*database.execute(query).fetchone())


def _same_file(database: Database, other: Path) -> bool:
    (_, _, path) = next(row for row in database.execute("pragma database_list") if row[1] == "main")
    return bool(path) and Path(path).samefile(other)
