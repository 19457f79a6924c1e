"""Rebuilds the request that an agent would have sent, from any point of what is on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from msgspec.structs import replace
from sqlite_utils import Database

from callerid.again import speech
from callerid.again.speech import SPEECHES
from callerid.archive import calls as archive
from callerid.archive import sessions
from callerid.archive.calls import CallFacts, Spoken
from callerid.archive.sessions import NotFound
from callerid.credentials import MASK
from callerid.traces import bodies
from callerid.turn import Call, Dialect, Message, Role
from callerid.wire import wirejson

# What belonged to the connection, to its signature, or to the one call alone.
_NOT_SENT = re.compile(
    r":.*|host|content-(length|encoding|md5|digest)|connection|keep-alive|accept-encoding|te"
    r"|transfer-encoding|upgrade|proxy-.*|expect|digest|signature(-input)?|x-amz-.*|trace(parent|state)"
    r"|sec-websocket-.*|x-stainless-retry-count|x-callerid-.*|cookie",
    re.IGNORECASE,
)
_MASKED_QUERY = re.compile(rf"(?:(?<=\?)|&)[^=&?]+={re.escape(MASK)}")


class CannotGoOn(ValueError):
    """A call from which nobody can go on; the message says why."""


class Origin(NamedTuple):
    """A call on record, all that was said up to it and its reply, and its body.

    `own` is how many of the messages are not the reply's, and `before` how many of those are of
    calls before it, where it brings only what is new. `point` names the point for people.
    """

    facts: CallFacts
    call: Call
    body: bytes
    messages: tuple[Message, ...]
    own: int
    before: int
    point: str

    @property
    def dialect(self) -> Dialect:
        """Its wire format."""
        return self.call.dialect


class Prepared(NamedTuple):
    """A request to be made, and the call that it is like; its credential is not in it."""

    facts: CallFacts
    body: bytes
    headers: tuple[tuple[str, str], ...]
    dialect: Dialect
    model: str

    @property
    def url(self) -> str:
        """Where it is sent."""
        return self.facts.url


def found(database: Database, wanted: str) -> tuple[str, str]:
    """The session that is meant, and the call ("" where it is the session); raises NotFound."""
    session_id, call_id = sessions.session_or_call(database, wanted)
    if session_id:
        return session_id, ""
    facts = archive.call(database, call_id)
    if facts is None or facts.session_id is None:
        raise CannotGoOn(f"{call_id} is of no session")
    return facts.session_id, call_id


def origin(database: Database, session_id: str, call_id: str = "") -> Origin:
    """Where a session stands, or stood when a call was answered.

    Raises NotFound, NotJSON, and CannotGoOn where its words are not on record, or are none.
    """
    facts = archive.newest(database, session_id, call_id)
    if facts is None:
        raise NotFound(f"session {session_id!r} has no call {call_id!r}".replace(" ''", ""))
    body = bodies.request_body(database, facts.id).content
    said, spoken = archive.history(database, facts, archive.reader())
    if body is None or spoken.call is None:
        raise CannotGoOn(f"the request of {facts.id} is not on record: nothing can be rebuilt")
    if spoken.call.dialect not in SPEECHES:
        raise CannotGoOn(f"{facts.id} is a call of {facts.dialect}, which has no conversation")
    own = len(said) - len(spoken.reply)
    before = own - len(spoken.call.messages)
    _check_kept_elsewhere(database, facts, spoken, before)
    return Origin(facts, spoken.call, body, tuple(said), own, before, facts.id)


def _check_kept_elsewhere(
    database: Database, facts: CallFacts, spoken: Spoken, before: int
) -> None:
    call = spoken.call
    if call is not None and call.member("conversation") not in (b"", b"null"):
        raise CannotGoOn(f"the provider keeps the conversation of {facts.id}, and nobody else")
    is_kept = call is not None and call.dialect is Dialect.OPENAI_RESPONSES
    if not (is_kept and facts.previous_response_id):
        return
    if not before or not _begins_on_record(database, facts):
        raise CannotGoOn(
            f"{facts.id} goes on from {facts.previous_response_id}, which is not on record"
        )


def _begins_on_record(database: Database, facts: CallFacts) -> bool:
    """Whether all replies that a call goes on from are on record, back to the first."""
    query = "select previous_response_id from calls where response_id = ? limit 1"
    wanted, seen = facts.previous_response_id, set[str]()
    while wanted and wanted not in seen:
        seen.add(wanted)
        row = database.execute(query, [wanted]).fetchone()
        if row is None:
            return False
        wanted = row[0]
    return True


def cut(origin: Origin, at: int) -> Origin:
    """The point after so many messages, from the end where it is below 0; raises CannotGoOn.

    The system prompt does not count, wherever it stands.
    """
    leading = next(
        (n for n, message in enumerate(origin.messages) if message.role is not Role.SYSTEM), 0
    )
    count = len(origin.messages) - leading
    if not -count <= at <= count:
        raise CannotGoOn(f"--at {at}, but {origin.facts.id} has {count} messages with its reply")
    kept = origin.messages[: leading + (at if at >= 0 else count + at)]
    point = f"message {len(kept) - leading} of {origin.facts.id}"
    own, before = min(origin.own, len(kept)), min(origin.before, len(kept))
    return origin._replace(messages=kept, own=own, before=before, point=point)


def going_on(origin: Origin, text: str) -> Prepared:
    """The request that goes on from a point with a person's words; its reply is streamed."""
    said = SPEECHES[origin.dialect]
    new = said.words(text, speech.wishes(origin.messages))
    messages = [*_history(origin), *map(wirejson.encode, new)]
    body = speech.placed(origin.dialect, origin.body, messages)
    return streamed(_prepared(origin, without(body, "previous_response_id")))


def _history(origin: Origin) -> Iterator[bytes]:
    """What was said: what was sent, to the letter; replies as the next call sends them."""
    said = SPEECHES[origin.dialect]
    sent = speech.members_sent(origin.messages[origin.before : origin.own])
    for at, message in enumerate(origin.messages):
        is_sent = origin.before <= at < origin.own
        if is_sent or message.role is not Role.ASSISTANT:
            yield message.raw
        else:
            raw = wirejson.decode(message.raw)
            yield wirejson.encode(said.reply(raw, sent) if isinstance(raw, dict) else raw)


def same_again(origin: Origin, model: str = "") -> Prepared:
    """The request of a call as it was sent, to its own model or another.

    One that names a reply which the provider keeps brings the whole history instead.
    """
    body = origin.body
    if origin.before:
        asked = list(_history(origin))[: origin.own]
        body = without(speech.placed(origin.dialect, body, asked), "previous_response_id")
    prepared = _prepared(origin, body)
    return with_model(prepared, model) if model and model != prepared.model else prepared


def _prepared(origin: Origin, body: bytes) -> Prepared:
    facts = origin.facts
    headers = tuple(
        (name, value)
        for name, value in bodies.pairs(facts.request_headers)
        if not _NOT_SENT.fullmatch(name) and MASK not in value
    )
    path = _MASKED_QUERY.sub("", facts.path).removesuffix("?")
    if facts.method == "WEBSOCKET" or wirejson.members(body).get("type") == b'"response.create"':
        body = with_members(without(body, "type"), stream=True)
        headers = (*headers, ("content-type", "application/json"))
        facts = replace(facts, scheme=facts.scheme.replace("ws", "http"))
    facts = replace(facts, method="POST", path=path)
    return Prepared(facts, body, headers, origin.dialect, origin.call.model)


def with_model(prepared: Prepared, model: str) -> Prepared:
    """The same, asked of another model: it stands in the body or in the path."""
    facts, old = prepared.facts, quote(prepared.model, safe="")
    body = prepared.body
    if "model" in wirejson.members(body):
        body = with_members(body, model=model)
    for name in {old, prepared.model}:
        facts = replace(facts, path=re.sub(
            rf"(/models?/){re.escape(name)}(?=[/:])", lambda at: at[1] + quote(model, safe="."),
            facts.path,
        ))  # fmt: skip
    return prepared._replace(facts=facts, body=body, model=model)


def streamed(prepared: Prepared) -> Prepared:
    """The same with a reply that comes as a stream, where the dialect has a way to ask for it."""
    body, path = prepared.body, prepared.facts.path
    members = wirejson.members(body)
    by_path = {
        ":generateContent": ":streamGenerateContent?alt=sse",
        "/converse": "/converse-stream",
    }
    for end, other in by_path.items():
        if path.endswith(end):
            return prepared._replace(facts=replace(prepared.facts, path=path[: -len(end)] + other))
    has_member = prepared.dialect in _STREAM_MEMBER and not path.endswith(_STREAM_ELSEWHERE)
    if not has_member or members.get("stream") == b"true":
        return prepared
    if prepared.dialect is Dialect.OPENAI_CHAT and "stream_options" not in members:
        body = with_members(body, stream_options={"include_usage": True})
    return prepared._replace(body=with_members(body, stream=True))


_STREAM_ELSEWHERE = ("/invoke", ":rawPredict")
_STREAM_MEMBER = (
    Dialect.ANTHROPIC, Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.COHERE,
    Dialect.COHERE_V1, Dialect.OLLAMA,
)  # fmt: skip


def without(body: bytes, name: str) -> bytes:
    """A body without a member."""
    members = wirejson.members(body)
    if members.pop(name, None) is None:
        return body
    return speech.joined(members)


def with_members(body: bytes, **values: object) -> bytes:
    """A body with some members set."""
    added = {name: wirejson.encode(value) for name, value in values.items()}
    return speech.joined({**wirejson.members(body), **added})


def inner(body: bytes) -> bytes:
    """The request that a body is, or wraps."""
    wrapped = wirejson.members(body).get("request", b"")
    return wrapped if wrapped.startswith(b"{") else body
