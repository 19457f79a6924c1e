"""Calls and sessions moved on record: what corrections are made of."""

from __future__ import annotations

from sqlite_utils import Database

from callerid.archive.sessions import NotFound
from callerid.turn import Because

SURE = 1.0
_TELL_WRITERS = """
insert into facts (name, value) values ('corrections', 1)
on conflict (name) do update set value = value + 1
"""


def tell_writers(database: Database) -> None:
    """Let proxies that write forget which sessions are there."""
    database.execute(_TELL_WRITERS)


def join(database: Database, kept_id: str, gone_id: str) -> None:
    """Let all that is a session's be another one's; its place in the tree, too, if it was above."""
    correct(database, "session_id = ?", [gone_id], f"a person merged {gone_id} into it")
    database.execute("update calls set session_id = ? where session_id = ?", [kept_id, gone_id])
    gone, above, top = row_of(database, gone_id), line(database, kept_id), kept_id
    if gone is not None and gone_id in above:
        top = above[above.index(gone_id) - 1]
        database.execute(
            "update sessions set parent_session_id = ?, relation = ? where id = ?",
            [gone["parent_session_id"], gone["relation"], top],
        )
    database.execute(
        "update sessions set parent_session_id = ? where parent_session_id = ? and id != ?",
        [kept_id, gone_id, kept_id],
    )
    database.execute("delete from sessions where id = ?", [gone_id])
    hear(database, kept_id)
    place(database, top)


def line(database: Database, session_id: str) -> list[str]:
    """A session and those above it, the root last; each of them once."""
    seen: list[str] = []
    row = row_of(database, session_id)
    while row is not None and row["id"] not in seen:
        seen.append(str(row["id"]))
        row = row_of(database, row["parent_session_id"])
    return seen


def session(database: Database, id: str) -> dict[str, object]:
    """The row of a session; raises NotFound."""
    row = row_of(database, id)
    if row is None:
        raise NotFound(f"there is no session {id!r}")
    return row


def row_of(database: Database, id: object) -> dict[str, object] | None:
    """The row of a session; None where it is not on record."""
    rows = database.query("select * from sessions where id = ?", [id])
    return next((dict(row) for row in rows), None)


def correct(database: Database, where: str, values: list[object], evidence: str) -> None:
    """Say of calls that a person put them where they are."""
    database.execute(
        f"update calls set because = ?, confidence = ?, evidence = ? where {where}",
        [Because.CORRECTION, SURE, evidence, *values],
    )


def place(database: Database, session_id: str) -> None:
    """Let a session, and all that came from it, belong to the run that its parent is of."""
    above = row_of(database, session(database, session_id)["parent_session_id"])
    move_tree(database, session_id, str(above["root_session_id"]) if above else session_id)


def move_tree(database: Database, session_id: str, root_id: str) -> None:
    """Let a session, and all that came from it, belong to the run of a root."""
    database.execute(
        """
        with recursive below (id) as (
            select ? union select sessions.id from below
            join sessions on sessions.parent_session_id = below.id
        )
        update sessions set root_session_id = ? where id in (select id from below)
        """,
        [session_id, root_id],
    )


def hear(database: Database, session_id: str) -> None:
    """Let a session be first and last heard of when its calls say so."""
    database.execute(
        """
        update sessions set (first_seen, last_seen) = (
            select min(started_at), max(coalesce(ended_at, started_at)) from calls
            where session_id = sessions.id
        ) where id = ?
        """,
        [session_id],
    )
