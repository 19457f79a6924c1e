"""Writes recorded calls into a traces.db as the proxy would have done; twice adds nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace
from sqlite_utils import Database

from callerid.archive.calls import CallFacts
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.prices import Prices
from callerid.recordings.recorded import RecordedCall
from callerid.recordings.reidentify import Answered, Taken, replay
from callerid.scopes import Scopes
from callerid.settings.load import Configuration
from callerid.stamp.upstreams import Upstreams
from callerid.traces.database import BadDatabase, all_calls, digest_key, open_database
from callerid.traces.discretion import discretion
from callerid.traces.rows import Entry, State
from callerid.traces.write import Writer
from callerid.turn import Because, Identity, Kind, Relation, Reply, Timing, Usage

BATCH = 200  # entries a transaction


class Imported(NamedTuple):
    """What came of an import: calls that are new, that were there, and what was no LLM call."""

    new: int = 0
    known: int = 0
    others: int = 0
    sessions: int = 0


def import_calls(
    calls: Iterable[RecordedCall], path: Path, configuration: Configuration, *, anew: bool = False
) -> Imported:
    """Write calls that are not on record into a traces.db, each with its identity.

    Whose a call is stays as it was where we exported it, unless `anew` (which takes words to go
    by); others are identified as the proxy would have done, beside what is on record of that time.
    What is not to be written down (`record.content`) is not. Raises BadDatabase, BadSetting.
    """
    with closing(open_database(path)) as database:
        desk = _Desk(database, path, configuration, anew=anew)
        named = desk.named(calls)
        new = [call for call in named if not desk.is_known(call)]
        beside = _on_record(database, new, configuration)
        desk.write(heapq.merge(new, beside, key=lambda call: call.t))
        known = len(named) - len(new)
        return desk.imported._replace(known=known, sessions=len(desk.sessions))


def _on_record(
    database: Database, new: list[RecordedCall], configuration: Configuration
) -> Iterator[RecordedCall]:
    """What is on record of the time of some calls, and a little before."""
    if not new:
        return
    since = new[0].t - configuration.settings.session.session_ttl_seconds
    for record in all_calls(database, since, new[-1].t):
        yield RecordedCall.of(record)


class _Desk:
    """Takes calls in the order of their time, and writes down what is new."""

    def __init__(
        self, database: Database, path: Path, configuration: Configuration, *, anew: bool
    ) -> None:
        self._database = database
        self._anew = anew
        discreetly = discretion(configuration, Guard())
        self._writer = Writer(path, Prices(configuration.prices), discreetly)
        self._path = path
        self._scopes = Scopes(configuration.credentials, digest_key(database))
        self._upstreams = Upstreams(configuration.providers, configuration.profiles)
        self._now = ""
        self._board = Switchboard(configuration, self._new_id)
        self._open: dict[str, Entry] = {}
        self._batch: list[Entry] = []
        self._keeps_all = configuration.settings.record.content == "full"
        self._exactness: list[tuple[str | None, str | None, str]] = []
        self._names: dict[str, str] = {}  # that people gave sessions
        self.imported = Imported()
        self.sessions: set[str] = set()

    def _new_id(self, prefix: str) -> str:
        """An id that is the same whenever the same call is imported."""
        return f"{prefix}_{sha256(f'{prefix} {self._now}'.encode()).hexdigest()[:32]}"

    def named(self, calls: Iterable[RecordedCall]) -> list[RecordedCall]:
        """Calls in the order of their time, under ids by which they are known again."""
        seen: dict[str, int] = {}
        return [self._named(call, seen) for call in sorted(calls, key=lambda call: call.t)]

    def _named(self, call: RecordedCall, seen: dict[str, int]) -> RecordedCall:
        asked = call.request
        request = asked
        if call.told is None:
            scope = self._scopes.of(asked.headers, asked.path, "")
            request = replace(asked, client=replace(asked.client, scope=scope))
        if call.call_id:
            return replace(call, id=call.call_id, request=request)
        place = f"{call.t!r} {asked.method} {asked.host} {asked.path}".encode()
        digest = sha256(place + b"\0" + asked.body).hexdigest()[:32]
        seen[digest] = again = seen.get(digest, 0) + 1
        return replace(call, id=f"call_{digest}{f'-{again}' * (again > 1)}", request=request)

    def is_known(self, call: RecordedCall) -> bool:
        """Whether a call is on record, itself or as the proxy saw it."""
        query = "select 1 from calls where id = ? or (? != '' and response_id = ?)"
        words = [call.id, call.response_id, call.response_id]
        return self._database.execute(query, words).fetchone() is not None

    def write(self, calls: Iterable[RecordedCall]) -> None:
        """Take all of them, and write what is not on record; raises BadDatabase."""
        try:
            for event in replay(self._told(calls), self._board, self._identity):
                if event.call.record is None:
                    self._note(event)
                if len(self._batch) >= BATCH:
                    self._flush()
            self._flush()
        finally:
            self._writer.close()
        with self._database.conn:
            self._database.conn.executemany(_EXACTNESS, self._exactness)
            self._database.conn.executemany(_NAME, [(b, a) for a, b in self._names.items()])

    def _told(self, calls: Iterable[RecordedCall]) -> Iterator[RecordedCall]:
        for call in calls:
            self._now = call.id
            yield call

    def _identity(self, call: RecordedCall) -> Identity | None:
        """Whose a call is, where that is on record and is to stay so."""
        if call.record is not None:
            return call.record.identity
        told, has_words = call.told, bool(call.request.body)
        if told is None or (self._anew and has_words and told.because != Because.CORRECTION):
            return None
        return _identity_of(told)

    def _note(self, event: Taken | Answered) -> None:
        if isinstance(event, Answered):
            begun = self._open.pop(event.call.id)
            self._batch.append(_ended(begun, event))
        elif event.turn is None:
            self.imported = self.imported._replace(others=self.imported.others + 1)
        else:
            entry = self._begun(event)
            self._open[event.call.id] = entry
            told = event.call.told
            if told and self._keeps_all:
                self._exactness.append((told.request_exactness, told.reply_exactness, told.id))
            self._batch.append(entry)
            self.imported = self.imported._replace(new=self.imported.new + 1)
            if entry.identity is not None:
                self.sessions.add(entry.identity.session_id)
                if told and told.session_name and told.session_id == entry.identity.session_id:
                    self._names[entry.identity.session_id] = told.session_name

    def _begun(self, event: Taken) -> Entry:
        call, turn = event.call, event.turn
        assert turn is not None
        told = call.told
        return Entry(
            id=call.id,
            request=replace(call.request, body=b""),
            call=turn.call,
            identity=turn.identity,
            provider=self._upstreams.of(call.request).provider,
            edits=(),
            timing=Timing(call.t),
            request_bytes=(told and told.request_bytes) or len(call.request.body),
            upstream=(told.upstream or "") if told else "",
            body=call.request.body,
        )

    def _flush(self) -> None:
        trouble = self._writer.write(self._batch) if self._batch else ""
        self._batch = []
        if trouble:
            raise BadDatabase(trouble)


# What was masked on its way into the first record is not exact in the second.
_EXACTNESS = """
update calls set request_exactness = coalesce(?, request_exactness),
    reply_exactness = coalesce(?, reply_exactness)
where id = ?
"""
_NAME = "update sessions set given_name = ? where id = ? and given_name is null"


def _ended(begun: Entry, event: Answered) -> Entry:
    """A call with what came back; the times and the state are as recorded, where they were."""
    call, told = event.call, event.call.told
    ended = None if told and told.ended_at is None else call.t_response
    return replace(
        begun,
        body=b"",
        timing=Timing(call.t, told.first_byte_at if told else None, ended),
        state=State(told.state) if told and told.state in _ENDED else _state(event),
        status=call.status or None,
        reply=_counted(event.reply, told),
        reply_bytes=told.reply_bytes if told else len(call.reply or b"") or None,
        error=(told.error_message or "") if told else "",
        reply_body=(call.reply,) if call.reply is not None else None,
        kept_bytes=len(call.reply or b""),
        reply_headers=call.reply_headers,
    )


_ENDED = tuple(state for state in State if state is not State.IN_FLIGHT)


def _state(event: Answered) -> State:
    """What a call came to, as far as its recording shows it."""
    reply = event.reply
    if reply is None:
        return State.ERROR if event.call.status >= 400 else State.INTERRUPTED
    if reply.error or event.call.status >= 400:
        return State.ERROR
    return State.OK if reply.complete else State.TRUNCATED


def _counted(reply: Reply | None, told: CallFacts | None) -> Reply | None:
    """A reply with what was told of it, where its bytes are gone."""
    if told is None or (reply is not None and reply.model):
        return reply
    reply = reply or Reply(error=told.error_type or "")
    return replace(
        reply,
        model=told.response_model or "",
        response_id=told.response_id or reply.response_id,
        stop_reason=told.finish_reason or reply.stop_reason,
        usage=Usage(
            told.input_tokens, told.output_tokens, told.cache_read_input_tokens,
            told.cache_creation_input_tokens, told.reasoning_tokens,
        ),
    )  # fmt: skip


def _identity_of(told: CallFacts) -> Identity | None:
    """Whose a call is, as an export of ours tells it."""
    if told.session_id is None or told.agent_id is None or told.because is None:
        return None
    return Identity(
        session_id=told.session_id,
        agent_id=told.agent_id,
        root_session_id=told.root_session_id or told.session_id,
        because=Because(told.because),
        confidence=told.confidence or 0.0,
        evidence=told.evidence or "",
        kind=Kind(told.kind),
        agent_name=told.agent or "",
        parent_session_id=told.parent_session_id or "",
        relation=Relation(told.relation) if told.relation else None,
        client_name=told.client or "",
        is_final=told.is_final,
    )
