"""Takes in what was recorded before a restart, so that sessions survive it."""

from __future__ import annotations

from pathlib import Path

from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.traces.database import Recorded, digest_key, live_calls, open_database
from callerid.turn import Dialect, Reply
from callerid.wire import dialects
from callerid.wire.messages import MessageReader
from callerid.wire.parse import parse_call

RESTORED_CALLS = 3000  # the newest; a second or two of work at start-up


def restore(path: Path, switchboard: Switchboard, guard: Guard, now: float) -> bytes:
    """Remember the live sessions of a traces.db; returns the key of its credential digests.

    Raises BadDatabase. A record that cannot be read is skipped and counted.
    """
    database = open_database(path)
    try:
        if switchboard.settings.enabled:
            since = now - switchboard.settings.session_ttl_seconds
            for recorded in live_calls(database, since, RESTORED_CALLS):
                with guard("restore"):
                    _take(recorded, switchboard)
        return digest_key(database)
    finally:
        database.conn.close()


def _take(recorded: Recorded, switchboard: Switchboard) -> None:
    call = parse_call(recorded.request.path, recorded.request.body, switchboard.reader)
    if call is None:
        return
    turn = switchboard.restore(recorded.request, call, recorded.identity, recorded.started_at)
    reply = reply_of(recorded, call.dialect, switchboard.reader)
    at = recorded.ended_at or recorded.started_at
    switchboard.answer(turn, reply, at, has_failed=recorded.has_failed)


def reply_of(recorded: Recorded, dialect: Dialect, reader: MessageReader) -> Reply:
    """The reply on record, as far as identification looks at it."""
    read_parts = dialects.reader_of(dialect).read_parts
    messages = tuple(reader.read(dialect, raw, read_parts) for raw in recorded.replies)
    return Reply(messages=messages, response_id=recorded.response_id)
