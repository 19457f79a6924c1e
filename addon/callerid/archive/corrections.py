"""A person's corrections: link a session to its parent, split one into two, merge two into one.

Each is a row of its own, with what it was before. A proxy that runs takes it in
(proxy/corrected.py), one that starts finds it in the sessions, and `callerid identify` leaves
corrected calls where they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import NotFound
from callerid.turn import Because, Relation

_SURE = 1.0


class BadCorrection(ValueError):
    """A correction that makes no sense; the message says why."""


def link(
    database: Database, session_id: str, parent_id: str, relation: Relation, now: float
) -> None:
    """Say that a session came from another one; raises NotFound, BadCorrection."""
    child, parent = _session(database, session_id), _session(database, parent_id)
    above: dict[str, object] | None = parent
    while above is not None:
        if above["id"] == session_id:
            raise BadCorrection(f"{parent_id} came from {session_id}, or is it")
        above = _found(database, above["parent_session_id"])
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
    if kept["client_scope"] != gone["client_scope"]:
        raise BadCorrection(
            f"{kept_id} and {gone_id} came with different credentials: they are two customers'"
        )
    with database.conn:
        _note(database, "merge", kept_id, gone_id, None, gone, now)
        _correct(database, "session_id = ?", [gone_id], f"a person merged {gone_id} into it")
        database.execute("update calls set session_id = ? where session_id = ?", [kept_id, gone_id])
        if kept["parent_session_id"] == gone_id:
            database.execute(
                "update sessions set parent_session_id = ?, relation = ? where id = ?",
                [gone["parent_session_id"], gone["relation"], kept_id],
            )
        database.execute(
            "update sessions set parent_session_id = ? where parent_session_id = ? and id != ?",
            [kept_id, gone_id, kept_id],
        )
        database.execute("delete from sessions where id = ?", [gone_id])
        _hear(database, kept_id)
        above = _found(database, _session(database, kept_id)["parent_session_id"])
        _move_tree(database, kept_id, str(above["root_session_id"]) if above else kept_id)


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
    """Write the correction down; proxies that write forget what they know to be there."""
    database.execute(
        "insert into corrections (kind, session_id, other_session_id, call_id, was, made_at)"
        " values (?, ?, ?, ?, ?, ?)",
        [kind, session_id, other, call_id, msgspec.json.encode(dict(was)).decode(), now],
    )
    database.execute("update facts set value = value + 1 where name = 'deletions'")


def _correct(database: Database, where: str, values: list[object], evidence: str) -> None:
    """Say of calls that a person put them where they are."""
    database.execute(
        f"update calls set because = ?, confidence = ?, evidence = ? where {where}",
        [Because.CORRECTION, _SURE, evidence, *values],
    )


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
