"""Takes in what was recorded before a restart, so that sessions survive it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import takewhile
from pathlib import Path

from msgspec.structs import replace
from sqlite_utils import Database

from callerid.guard import Guard
from callerid.identity import history as histories
from callerid.identity.history import Trail
from callerid.identity.switchboard import Switchboard
from callerid.traces import bodies, unsaid
from callerid.traces import database as traces
from callerid.traces.database import (
    Bound,
    Recorded,
    calls_of,
    digest_key,
    live_calls,
    open_database,
)
from callerid.traces.writers import mark_interrupted
from callerid.turn import Dialect, Kind, Message, Reply, Role, Stood
from callerid.wire import dialects, wirejson
from callerid.wire.messages import MessageReader
from callerid.wire.parse import parse_call

RESTORED_CALLS = 3000  # the newest
RESTORED_BYTES = 128 << 20  # of what was sent in them: both are two or three seconds at start-up

Row = Mapping[str, object]


def restore(
    path: Path, switchboard: Switchboard, guard: Guard, now: float, *, sessions: bool = True
) -> bytes:
    """Remember the live sessions of a traces.db; returns the key of its credential digests.

    Without `sessions` none is remembered: they are known elsewhere. Raises BadDatabase. A record
    that cannot be read is skipped and counted.
    """
    database = open_database(path)
    try:
        mark_interrupted(database, path)
        if switchboard.settings.enabled and sessions:
            since = now - switchboard.settings.session_ttl_seconds
            rows = live_calls(database, since, RESTORED_CALLS, RESTORED_BYTES)
            _take_all(rows, _Past(database, switchboard), guard)
        return digest_key(database)
    finally:
        database.conn.close()


def restored_bindings(path: Path, since: float) -> list[Bound]:
    """Which upstream each session was sent to last, of those heard of since a time, oldest first.

    Raises BadDatabase.
    """
    with closing(open_database(path)) as database:
        return list(traces.bindings(database, since))


def restore_sessions(
    path: Path, ids: Iterable[str], switchboard: Switchboard, guard: Guard
) -> None:
    """Remember some sessions of a traces.db as they are on record; raises BadDatabase."""
    with closing(open_database(path)) as database:
        _take_all(calls_of(database, ids), _Past(database, switchboard), guard)


def _take_all(rows: list[dict[str, object]], past: _Past, guard: Guard) -> None:
    heard = (row for row in rows if row["is_answered"] and row["kind"] == Kind.MAIN)
    newest = {row["session_id"]: row["id"] for row in heard}
    for row in rows:
        with guard("restore"):
            past.take(row, is_newest=newest.get(row["session_id"]) == row["id"])


class _Past:
    """What was said up to the newest call of each session: the next one goes on from there.

    So each message is read once, and not again with every call that it was sent in.
    """

    def __init__(self, database: Database, switchboard: Switchboard) -> None:
        self._database = database
        self._board = switchboard
        self._prompt = bodies.prompts_of(database)
        self._trails: dict[tuple[object, bool], tuple[object, Trail]] = {}

    def take(self, row: Row, *, is_newest: bool) -> None:
        """Take in the next call on record, with its reply; raises NotJSON."""
        recorded = traces.recorded(self._database, row, b"")
        trail = self._trail(row, recorded)
        self._trails[row["session_id"], row["kind"] == Kind.MAIN] = row["id"], trail
        # Of the messages the call itself shows no more than those before the model's first.
        opening = takewhile(lambda message: message.role is not Role.ASSISTANT, trail.messages)
        body = bodies.body_with(row, (message.raw for message in opening), self._prompt)
        call = parse_call(recorded.request.path, body, self._board.reader)
        if call is None:
            return
        history = None
        if any(raw == Stood.MESSAGES for _, raw in call.members):
            call, history = replace(call, messages=trail.messages), trail.history
        at = recorded.started_at
        turn = self._board.restore(recorded.request, call, recorded.identity, at, history)
        reply = reply_of(recorded, call.dialect, self._board.reader)
        self._board.answer(
            turn, reply, recorded.ended_at or at,
            has_failed=recorded.has_failed, is_newest=is_newest,
        )  # fmt: skip

    def _trail(self, row: Row, recorded: Recorded) -> Trail:
        """What was said up to a call, built on what was said up to the call that it builds on."""
        dialect = Dialect(str(row["dialect"]))
        trail, length = histories.trail(recorded.request.client.scope), 0
        base = self._base(row)
        if base is not None and base.history.start == trail.history.start:
            trail, length = base, int(str(row["base_length"]))
            raws = bodies.own_messages_of(self._database, recorded.id)
        else:
            raws = bodies.messages_of(self._database, recorded.id)
        return trail.grown(length, _read(raws, dialect, self._board.reader))

    def _base(self, row: Row) -> Trail | None:
        session_id, parent_id = row["session_id"], row["parent_session_id"]
        for key in ((session_id, True), (session_id, False), (parent_id, True)):
            call_id, trail = self._trails.get(key, (None, None))
            if trail is not None and call_id == row["base_call_id"]:
                return trail
        return None


def _read(raws: list[bytes], dialect: Dialect, reader: MessageReader) -> list[Message]:
    read_parts = dialects.reader_of(dialect).read_parts
    return [unsaid.read(raw) or reader.read(dialect, [raw], read_parts)[0] for raw in raws]


def reply_of(recorded: Recorded, dialect: Dialect, reader: MessageReader) -> Reply:
    """The reply on record, as far as identification looks at it."""
    messages = tuple(_read(recorded.replies, dialect, reader))
    ids = (wirejson.string(wirejson.at(wirejson.decode(raw), "id")) for raw in recorded.replies)
    return Reply(
        messages=messages, response_id=recorded.response_id, item_ids=tuple(filter(None, ids))
    )
