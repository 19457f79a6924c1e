"""Corrections heeded again in what was recorded late, and the names of sessions, for a proxy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from callerid.archive import moving
from callerid.traces.database import open_database

MOST_NAMES = 10_000  # of sessions that were heard of last
# What was recorded late: a merged session's calls, or (then only the row) that it is there again;
# of a split session, the calls that begin with all that was said up to the split, or in a call
# split off that begins otherwise.
_LATE = {
    "merge": """
        select id from calls where session_id = :other_session_id
        union all select id from sessions where id = :other_session_id
    """,
    "split": """
        with recursive long (id, started_at, length) as (
            select id, started_at, base_length + (
                select count(*) from call_messages where call_id = calls.id and is_reply = 0
            ) from calls where session_id in (:session_id, :other_session_id) or id = :call_id
        ), split as (
            select * from long where id = :call_id
        ), moved (id) as (
            select id from calls where session_id = :other_session_id or id = :call_id
            union
            select calls.id from moved join calls on calls.base_call_id = moved.id
            join long on long.id = moved.id, split
            where calls.base_length >= min(split.length, long.length)
        )
        select calls.id from moved join calls on calls.id = moved.id, split
        where session_id = :session_id and calls.started_at >= split.started_at
    """,
}


class Made(NamedTuple):
    """A correction on record, as its row has it."""

    number: int
    kind: str
    session_id: str
    other_session_id: str
    call_id: str | None


def newest(path: Path) -> int:
    """The number of the newest correction; raises sqlite3.Error where there is no such file."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = "select coalesce(max(number), 0) from corrections"
        return int(connection.execute(query).fetchone()[0])


def heeded(path: Path, since: int, earlier: Iterable[Made]) -> list[Made]:
    """Some corrections and those made after a number, all heeded again in what came since.

    Proxies go on recording as they know it until they have taken a correction in. Raises
    BadDatabase.
    """
    query = (
        "select number, kind, session_id, other_session_id, call_id from corrections"
        " where number > ? order by number"
    )
    with closing(open_database(path)) as database, database.conn:
        database.execute("begin immediate")
        made = [*earlier, *(Made(*row) for row in database.execute(query, [since]).fetchall())]
        for one in made:
            _heed(database, one)
        return made


def _heed(database: Database, made: Made) -> None:
    """Move what was recorded where a correction had just taken it away."""
    ours, other = made.session_id, made.other_session_id
    if made.kind == "link" and moving.row_of(database, ours) is not None:
        moving.place(database, ours)
    late = list(database.query(_LATE[made.kind], made._asdict())) if made.kind in _LATE else []
    if not late or moving.row_of(database, ours if made.kind == "merge" else other) is None:
        return
    moving.tell_writers(database)
    if made.kind == "merge":
        moving.join(database, ours, other)
        return
    ids = [str(row["id"]) for row in late]
    which = f"id in ({', '.join('?' * len(ids))})"
    moving.correct(database, which, list(ids), f"a person split it from {ours} at {made.call_id}")
    database.execute(f"update calls set session_id = ? where {which}", [other, *ids])
    moving.hear(database, ours)
    moving.hear(database, other)


def names(path: Path) -> dict[str, str]:
    """The names that people gave sessions, by their ids; raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = "select id, given_name from sessions where given_name is not null"
        query += f" order by last_seen desc limit {MOST_NAMES}"
        return dict(connection.execute(query).fetchall())
