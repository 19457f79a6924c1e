"""Calls on record, one after the other, with all that is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import EVERYTHING, Filter, sessions
from callerid.traces import bodies
from callerid.turn import Because, Call, Dialect, Kind, Message, Role
from callerid.wire import canonical, dialects, wirejson
from callerid.wire.messages import MessageReader
from callerid.wire.parse import parse_call


class CallFacts(msgspec.Struct, frozen=True):
    """A call and its reply, without what was said; None is unknown.

    Times are in seconds since the epoch. `request_headers`, `reply_headers` and `members` (of the
    request's body) are JSON: [[name, value], ...]. `input_tokens` and `output_tokens` are all that
    went in and came out, what caches gave and reasoning included.
    """

    id: str
    kind: str
    state: str
    dialect: str
    started_at: float
    method: str
    scheme: str
    host: str
    port: int
    path: str
    session_id: str | None = None
    session_name: str | None = None
    parent_session_id: str | None = None
    root_session_id: str | None = None
    relation: str | None = None
    agent_id: str | None = None
    agent: str | None = None
    client: str | None = None
    client_scope: str | None = None
    because: str | None = None
    confidence: float | None = None
    evidence: str | None = None
    is_final: bool = False
    status: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    provider_name: str | None = None
    upstream: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    previous_response_id: str | None = None
    finish_reason: str | None = None
    is_stream: bool = False
    first_byte_at: float | None = None
    ended_at: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    request_headers: str = "[]"
    members: str = "[]"
    reply_headers: str | None = None
    request_exactness: str | None = None
    reply_exactness: str | None = None
    request_bytes: int | None = None
    reply_bytes: int | None = None
    user_agent: str | None = None
    client_address: str | None = None
    client_connection: str | None = None

    @property
    def model(self) -> str:
        """The model that answered, or was asked."""
        return self.response_model or self.request_model or ""

    @property
    def seconds(self) -> float | None:
        """From the request to the end of its reply."""
        return None if self.ended_at is None else max(0.0, self.ended_at - self.started_at)

    @property
    def first_byte_seconds(self) -> float | None:
        """From the request to the first byte of its reply."""
        return None if self.first_byte_at is None else self.first_byte_at - self.started_at

    @property
    def has_failed(self) -> bool:
        """Whether it was not answered as it should have been; a budget that refused it is none."""
        return self.state not in ("ok", "in_flight", "blocked")

    @property
    def is_compaction(self) -> bool:
        """Whether the history is told anew here: a summary is asked for, or opens it."""
        return self.kind == Kind.COMPACTION or self.because == Because.COMPACTION

    @property
    def url(self) -> str:
        """Where it was sent."""
        usual = {"http": 80, "https": 443}.get(self.scheme)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == usual else f':{self.port}'}{self.path}"

    def header(self, name: str) -> str:
        """The first value of a header of its request; "" when it is missing."""
        found = (value for key, value in bodies.pairs(self.request_headers) if key.lower() == name)
        return next(found, "")


class Spoken(NamedTuple):
    """What was said in a call: its request (None: not on record), and the reply's messages."""

    call: Call | None
    reply: tuple[Message, ...]


_OWN = tuple(
    name
    for name in CallFacts.__struct_fields__
    if name not in ("agent", "client", "client_scope", "input_tokens", "output_tokens")
    and name not in ("session_name", "parent_session_id", "root_session_id", "relation")
)
_SELECT = f"""
select {", ".join(f"calls.{name}" for name in _OWN)},
    calls.total_input_tokens as input_tokens, calls.total_output_tokens as output_tokens,
    sessions.given_name as session_name, sessions.parent_session_id, sessions.root_session_id,
    sessions.relation, sessions.client_name as client, sessions.client_scope, agents.name as agent
from calls
left join sessions on sessions.id = calls.session_id
left join agents on agents.id = calls.agent_id
"""
_WHICH = """
where (:sessions is null or calls.session_id in (select value from json_each(:sessions)))
    and (:since is null or calls.started_at >= :since)
"""
_ORDER = "order by calls.started_at, calls.id"
_BEFORE = f"{_SELECT} where calls.session_id in (?, ?) and calls.response_id = ? {_ORDER}"
_ENDED = """
select count(*) from calls
where id in (select value from json_each(?)) and state != 'in_flight'
"""
_NEWEST = """
select id from calls where session_id = :session and (:call = '' or id = :call)
order by kind = :main desc, state = 'ok' desc, started_at desc, id desc limit 1
"""


def calls(database: Database, which: Filter = EVERYTHING) -> Iterator[CallFacts]:
    """The calls of the sessions that are meant, the oldest first; read as they are asked for.

    Those of no session belong to none, and come where everything is meant.
    """
    for row in database.query(f"{_SELECT} {_WHICH} {_ORDER}", _said(database, which)):
        yield _facts(row)


def count(database: Database, which: Filter = EVERYTHING) -> int:
    """How many calls are meant."""
    query = f"select count(*) from calls {_WHICH}"
    return int(database.execute(query, _said(database, which)).fetchone()[0])


def ended(database: Database, call_ids: Sequence[str]) -> int:
    """How many of some calls are on record as they ended."""
    written = wirejson.encode(list(call_ids)).decode()
    return int(database.execute(_ENDED, [written]).fetchone()[0])


def _said(database: Database, which: Filter) -> dict[str, object]:
    if which._replace(since=None) == EVERYTHING:
        return {"sessions": None, "since": which.since}
    ids = [session.id for session in sessions(database, which)]
    return {"sessions": wirejson.encode(ids).decode(), "since": which.since}


def call(database: Database, call_id: str) -> CallFacts | None:
    """One call; None where it is not on record."""
    found = database.query(f"{_SELECT} where calls.id = ?", [call_id])
    return next(map(_facts, found), None)


def newest(database: Database, session_id: str, call_id: str = "") -> CallFacts | None:
    """The newest call of a session, main ones and answered ones before others; None for none.

    Where a call is named it is that one, if it is of the session.
    """
    place = {"session": session_id, "call": call_id, "main": Kind.MAIN}
    row = database.execute(_NEWEST, place).fetchone()
    return call(database, row[0]) if row else None


def _facts(row: dict[str, object]) -> CallFacts:
    return msgspec.convert(row, CallFacts, strict=False)


def reader() -> MessageReader:
    """What reads messages that are on record; one for many calls, as it remembers them."""
    return MessageReader(canonical.injected_pattern([]))


def spoken(database: Database, facts: CallFacts, messages: MessageReader) -> Spoken:
    """What was said in a call; raises NotJSON and NotPacked where its record is broken."""
    body = bodies.request_body(database, facts.id).content or b"{}"
    dialect = Dialect(facts.dialect)
    read_parts = dialects.reader_of(dialect).read_parts
    reply = bodies.reply_messages_of(database, facts.id)
    return Spoken(
        parse_call(facts.path, body, messages),
        messages.read(dialect, reply, read_parts),
    )


def history(
    database: Database, facts: CallFacts, messages: MessageReader
) -> tuple[list[Message], Spoken]:
    """All that was said up to a call and its reply, and what was said in it alone.

    Where a provider keeps the history, a call brings only what is new: what came before is then
    taken from the call whose reply it names.
    """
    last = now = spoken(database, facts, messages)
    said = [*_asked(last), *last.reply]
    seen = {facts.id}
    while facts.previous_response_id:
        place = [facts.session_id, facts.parent_session_id, facts.previous_response_id]
        before = next(map(_facts, database.query(_BEFORE, place)), None)
        if before is None or before.id in seen:
            break
        seen.add(before.id)
        facts, earlier = before, spoken(database, before, messages)
        if _repeats(now, earlier):
            break
        said[:0] = [*_asked(earlier), *earlier.reply]
        now = earlier
    return said, last


def parted(said: list[Message], last: Spoken) -> tuple[str, list[Message]]:
    """A history as the words of its system prompt, wherever that stands, and what comes after."""
    before = list(takewhile(lambda message: message.role is Role.SYSTEM, said))
    leading = "\n".join(message.text for message in before if message.text)
    own = last.call.system if last.call else ""
    system = own if leading in own else "\n".join(filter(None, (own, leading)))
    return system, said[len(before) :]


def _asked(spoken: Spoken) -> tuple[Message, ...]:
    return spoken.call.messages if spoken.call else ()


def _repeats(now: Spoken, earlier: Spoken) -> bool:
    """Whether a call says again what the reply said that it names."""
    there = {unit.digest for message in _asked(now) for unit in message.units}
    return all(unit.digest in there for message in earlier.reply for unit in message.units)
