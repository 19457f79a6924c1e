"""A person's corrections: link a session to its parent, split one into two, merge two into one.

Each is a row of its own, with what it was before. A proxy that runs takes it in
(proxy/corrected.py), one that starts finds it in the sessions, and `callerid identify` leaves
corrected calls where they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import NotFound
from callerid.traces.database import open_database
from callerid.turn import Because, Relation

_SURE = 1.0
_TELL_WRITERS = """
insert into facts (name, value) values ('corrections', 1)
on conflict (name) do update set value = value + 1
"""
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


class BadCorrection(ValueError):
    """A correction that makes no sense; the message says why."""


def link(
    database: Database, session_id: str, parent_id: str, relation: Relation, now: float
) -> None:
    """Say that a session came from another one; raises NotFound, BadCorrection."""
    child, parent = _session(database, session_id), _session(database, parent_id)
    if session_id in _line(database, parent_id):
        raise BadCorrection(f"{parent_id} came from {session_id}, or is it")
    _refuse_two_customers(child, parent)
    with database.conn:
        _note(database, "link", session_id, parent_id, None, child, now)
        database.execute(
            "update sessions set parent_session_id = ?, relation = ?, evidence = ? where id = ?",
            [parent_id, relation, f"{child['evidence']}; a person linked it", session_id],
        )
        _move_tree(database, session_id, str(parent["root_session_id"]))
        _correct(database, "session_id = ?", [session_id], f"a person linked it to {parent_id}")


def split(database: Database, call_id: str, new_id: str, now: float) -> None:
    """Let a call and those after it in its session be a session of their own.

    Raises NotFound, BadCorrection.
    """
    call = next(iter(database.query("select * from calls where id = ?", [call_id])), None)
    if call is None or call["session_id"] is None:
        raise NotFound(f"there is no call {call_id!r} of a session")
    old_id = str(call["session_id"])
    after = "session_id = ? and (started_at, id) >= (?, ?)"
    place = [old_id, call["started_at"], call_id]
    (first,) = database.query(
        "select id from calls where session_id = ? order by started_at, id limit 1", [old_id]
    )
    if first["id"] == call_id:
        raise BadCorrection(f"{call_id} is the first call of {old_id}: nothing would be left of it")
    with database.conn:
        old = _session(database, old_id)
        _note(database, "split", old_id, new_id, call_id, old, now)
        evidence = f"a person split it from {old_id} at {call_id}"
        begun = {
            "id": new_id, "root_session_id": new_id, "parent_session_id": None, "relation": None,
            "because": Because.CORRECTION, "confidence": _SURE, "evidence": evidence,
            "first_seen": call["started_at"], "agent_id": call["agent_id"],
        }  # fmt: skip
        database.table("sessions").insert({**old, **begun})
        _correct(database, after, place, evidence)
        database.execute(f"update calls set session_id = ? where {after}", [new_id, *place])
        _hear(database, old_id)


def merge(database: Database, kept_id: str, gone_id: str, now: float) -> None:
    """Let the calls of a session belong to another one; its children become the other's.

    Raises NotFound, BadCorrection.
    """
    kept, gone = _session(database, kept_id), _session(database, gone_id)
    if kept_id == gone_id:
        raise BadCorrection(f"{kept_id} cannot be merged with itself")
    _refuse_two_customers(kept, gone)
    with database.conn:
        _note(database, "merge", kept_id, gone_id, None, gone, now)
        _join(database, kept_id, gone_id)


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
    if made.kind == "link" and _found(database, ours) is not None:
        _place(database, ours)
    late = list(database.query(_LATE[made.kind], made._asdict())) if made.kind in _LATE else []
    if not late or _found(database, ours if made.kind == "merge" else other) is None:
        return
    database.execute(_TELL_WRITERS)
    if made.kind == "merge":
        _join(database, ours, other)
        return
    ids = [str(row["id"]) for row in late]
    which = f"id in ({', '.join('?' * len(ids))})"
    _correct(database, which, list(ids), f"a person split it from {ours} at {made.call_id}")
    database.execute(f"update calls set session_id = ? where {which}", [other, *ids])
    _hear(database, ours)
    _hear(database, other)


def _join(database: Database, kept_id: str, gone_id: str) -> None:
    """Let all that is a session's be another one's; its place in the tree, too, if it was above."""
    _correct(database, "session_id = ?", [gone_id], f"a person merged {gone_id} into it")
    database.execute("update calls set session_id = ? where session_id = ?", [kept_id, gone_id])
    gone, line, top = _found(database, gone_id), _line(database, kept_id), kept_id
    if gone is not None and gone_id in line:
        top = line[line.index(gone_id) - 1]
        database.execute(
            "update sessions set parent_session_id = ?, relation = ? where id = ?",
            [gone["parent_session_id"], gone["relation"], top],
        )
    database.execute(
        "update sessions set parent_session_id = ? where parent_session_id = ? and id != ?",
        [kept_id, gone_id, kept_id],
    )
    database.execute("delete from sessions where id = ?", [gone_id])
    _hear(database, kept_id)
    _place(database, top)


def _line(database: Database, session_id: str) -> list[str]:
    """A session and those above it, the root last; each of them once."""
    seen: list[str] = []
    found = _found(database, session_id)
    while found is not None and found["id"] not in seen:
        seen.append(str(found["id"]))
        found = _found(database, found["parent_session_id"])
    return seen


def _refuse_two_customers(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    if one["client_scope"] != other["client_scope"]:
        both = f"{one['id']} and {other['id']}"
        raise BadCorrection(f"{both} came with different credentials: they are two customers'")


def _session(database: Database, id: str) -> dict[str, object]:
    found = _found(database, id)
    if found is None:
        raise NotFound(f"there is no session {id!r}")
    return found


def _found(database: Database, id: object) -> dict[str, object] | None:
    rows = database.query("select * from sessions where id = ?", [id])
    return next((dict(row) for row in rows), None)


def _note(
    database: Database, kind: str, session_id: str, other: str, call_id: str | None,
    was: Mapping[str, object], now: float,
) -> None:  # fmt: skip
    """Write the correction down; proxies that write forget which sessions are there."""
    database.execute(
        "insert into corrections (kind, session_id, other_session_id, call_id, was, made_at)"
        " values (?, ?, ?, ?, ?, ?)",
        [kind, session_id, other, call_id, msgspec.json.encode(dict(was)).decode(), now],
    )
    database.execute(_TELL_WRITERS)


def _correct(database: Database, where: str, values: list[object], evidence: str) -> None:
    """Say of calls that a person put them where they are."""
    database.execute(
        f"update calls set because = ?, confidence = ?, evidence = ? where {where}",
        [Because.CORRECTION, _SURE, evidence, *values],
    )


def _place(database: Database, session_id: str) -> None:
    """Let a session, and all that came from it, belong to the run that its parent is of."""
    above = _found(database, _session(database, session_id)["parent_session_id"])
    _move_tree(database, session_id, str(above["root_session_id"]) if above else session_id)


def _move_tree(database: Database, session_id: str, root_id: str) -> None:
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


def _hear(database: Database, session_id: str) -> None:
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
