"""Where in a session others began: which of them go along when it is split at a call."""

from __future__ import annotations

from sqlite_utils import Database

from callerid.archive import calls as archive
from callerid.archive.calls import CallFacts
from callerid.traces.pack import NotPacked
from callerid.turn import Relation
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import NotJSON

_CHILDREN = """
select sessions.id, sessions.relation, sessions.first_seen, (
    select calls.id from calls where calls.session_id = sessions.id
    order by calls.kind = 'main' desc, calls.started_at, calls.id limit 1
) as opening from sessions where sessions.parent_session_id = ?
"""


def begun_from(database: Database, session_id: str, call_id: str) -> list[str]:
    """The sessions that came from a session at a call, or after it.

    A fork did where it holds all that the call had said by then; another session where it began
    once the call was answered.
    """
    split = archive.call(database, call_id)
    if split is None:
        return []
    reader = archive.reader()
    said: list[bytes] | None = None
    found = []
    for child in database.query(_CHILDREN, [session_id]):
        if child["relation"] != Relation.FORK:
            is_later = child["first_seen"] >= (split.ended_at or split.started_at)
        else:
            said = _said(database, split, reader) if said is None else said
            opening = archive.call(database, str(child["opening"]))
            theirs = _said(database, opening, reader) if opening else []
            is_later = bool(said) and theirs[: len(said)] == said
        if is_later:
            found.append(str(child["id"]))
    return found


def _said(database: Database, facts: CallFacts, reader: MessageReader) -> list[bytes]:
    """What was said before a call's reply, as it is compared; nothing where that cannot be read."""
    try:
        said, last = archive.history(database, facts, reader)
    except (NotJSON, NotPacked):
        return []
    asked = said[: len(said) - len(last.reply)]
    return [unit.digest for message in asked for unit in message.units]
