"""A person's corrections: sessions linked to their parents, split, merged, and named.

Each is a row of its own, with what it was before. A proxy that runs takes it in
(proxy/corrected.py), one that starts finds it in the sessions, and `callerid identify` leaves
corrected calls where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from unicodedata import category

import msgspec
from sqlite_utils import Database

from callerid.archive import moving
from callerid.archive.branching import begun_from
from callerid.archive.sessions import NotFound
from callerid.turn import Because, Relation

MOST_CHARACTERS = 120  # of a name


class BadCorrection(ValueError):
    """A correction that makes no sense; the message says why."""


def link(
    database: Database, session_id: str, parent_id: str, relation: Relation, now: float
) -> None:
    """Say that a session came from another one; raises NotFound, BadCorrection."""
    child, parent = moving.session(database, session_id), moving.session(database, parent_id)
    if session_id in moving.line(database, parent_id):
        raise BadCorrection(f"{parent_id} came from {session_id}, or is it")
    _refuse_two_customers(child, parent)
    with database.conn:
        _note(database, "link", session_id, parent_id, None, child, now)
        database.execute(
            "update sessions set parent_session_id = ?, relation = ?, evidence = ? where id = ?",
            [parent_id, relation, f"{child['evidence']}; a person linked it", session_id],
        )
        moving.move_tree(database, session_id, str(parent["root_session_id"]))
        moving.correct(
            database, "session_id = ?", [session_id], f"a person linked it to {parent_id}"
        )


def split(database: Database, call_id: str, new_id: str, now: float) -> None:
    """Let a call and those after it in its session be a session of their own.

    What came from the session at that call or after it, comes from the new one then. Raises
    NotFound, BadCorrection.
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
    children = begun_from(database, old_id, call_id)
    with database.conn:
        old = moving.session(database, old_id)
        _note(database, "split", old_id, new_id, call_id, old, now)
        evidence = f"a person split it from {old_id} at {call_id}"
        begun = {
            "id": new_id, "root_session_id": new_id, "parent_session_id": None, "relation": None,
            "because": Because.CORRECTION, "confidence": moving.SURE, "evidence": evidence,
            "first_seen": call["started_at"], "agent_id": call["agent_id"], "given_name": None,
        }  # fmt: skip
        database.table("sessions").insert({**old, **begun})
        moving.correct(database, after, place, evidence)
        database.execute(f"update calls set session_id = ? where {after}", [new_id, *place])
        moving.hear(database, old_id)
        for child in children:
            database.execute(
                "update sessions set parent_session_id = ? where id = ?", [new_id, child]
            )
            moving.move_tree(database, child, new_id)


def merge(database: Database, kept_id: str, gone_id: str, now: float) -> None:
    """Let the calls of a session belong to another one; its children become the other's.

    Where the other has no name of its own, it takes the name along. Raises NotFound, BadCorrection.
    """
    kept, gone = moving.session(database, kept_id), moving.session(database, gone_id)
    if kept_id == gone_id:
        raise BadCorrection(f"{kept_id} cannot be merged with itself")
    _refuse_two_customers(kept, gone)
    with database.conn:
        _note(database, "merge", kept_id, gone_id, None, gone, now)
        database.execute(
            "update sessions set evidence = ?, given_name = coalesce(given_name, ?) where id = ?",
            [f"{kept['evidence']}; a person merged {gone_id} into it", gone["given_name"], kept_id],
        )
        moving.join(database, kept_id, gone_id)


def rename(database: Database, session_id: str, name: str, now: float) -> str:
    """Give a session a name of its own, "" takes it away; the name as it is on record.

    Raises NotFound, BadCorrection.
    """
    was = moving.session(database, session_id)
    given = " ".join(name.split())
    if len(given) > MOST_CHARACTERS:
        raise BadCorrection(
            f"expected a name of at most {MOST_CHARACTERS} characters, got {len(given):,}"
        )
    if any(category(sign) in ("Cc", "Cs") for sign in given):
        raise BadCorrection(f"expected a name without control characters, got {given!r}")
    with database.conn:
        _note(database, "rename", session_id, session_id, None, was, now, given or None)
        database.execute(
            "update sessions set given_name = ? where id = ?", [given or None, session_id]
        )
    return given


def _refuse_two_customers(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    if one["client_scope"] != other["client_scope"]:
        both = f"{one['id']} and {other['id']}"
        raise BadCorrection(f"{both} came with different credentials: they are two customers'")


def _note(
    database: Database, kind: str, session_id: str, other: str, call_id: str | None,
    was: Mapping[str, object], now: float, name: str | None = None,
) -> None:  # fmt: skip
    """Write the correction down; proxies that write forget which sessions are there."""
    database.execute(
        "insert into corrections"
        " (kind, session_id, other_session_id, call_id, was, made_at, given_name)"
        " values (?, ?, ?, ?, ?, ?, ?)",
        [kind, session_id, other, call_id, msgspec.json.encode(dict(was)).decode(), now, name],
    )
    moving.tell_writers(database)
