"""What is written down of a call: the rows of traces.db, without anything secret."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

import msgspec

from callerid import credentials
from callerid.prices import used
from callerid.stamp.stamper import Edit
from callerid.turn import (
    Call,
    Identity,
    Message,
    Opaque,
    Part,
    Reference,
    Reply,
    Request,
    Timing,
    ToolCall,
)
from callerid.wire import wirejson

Row = dict[str, object]


class State(StrEnum):
    """How a call stands, or how it ended."""

    IN_FLIGHT = "in_flight"
    OK = "ok"
    ERROR = "error"  # the provider said so
    TRUNCATED = "truncated"  # the reply ended before the provider said that it was over
    ABORTED = "aborted"  # the client went away
    UNREACHABLE = "unreachable"  # the provider could not be reached, or went away
    INTERRUPTED = "interrupted"  # the proxy stopped
    BLOCKED = "blocked"  # callerid refused it: it was not forwarded


class Entry(msgspec.Struct, frozen=True):
    """A call as it stands, to be written down; it is written when it begins and when it ends.

    The request comes without its body: what was read of it is in the call.
    """

    id: str
    request: Request
    call: Call
    identity: Identity | None
    provider: str
    edits: tuple[Edit, ...]
    timing: Timing
    request_bytes: int = 0
    state: State = State.IN_FLIGHT
    status: int | None = None
    reply: Reply | None = None
    reply_bytes: int | None = None
    error: str = ""
    cost_usd: float | None = None  # None: unknown
    upstream: str = ""  # the URL that routing chose; "" is where the client sent it

    @property
    def size(self) -> int:
        """How many bytes it keeps in memory, about, while it waits to be written.

        What was asked is counted with the entry of its beginning, which shares it.
        """
        return self.request_bytes if self.state is State.IN_FLIGHT else self.reply_bytes or 0


class Said(NamedTuple):
    """A message with the id it is stored under."""

    id: str
    row: Row


def storable(row: Row) -> Row:
    """A row as SQLite takes it: no half characters, no number beyond 64 bits (that is unknown)."""
    return {name: _storable(value) for name, value in row.items()}


def _storable(value: object) -> object:
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and value.bit_length() > 63:
        return None
    return value


def secrets_of(entry: Entry) -> tuple[str, ...]:
    """What must not be written down of a call."""
    return credentials.secrets_in(entry.request.headers, entry.request.path)


def agent_row(entry: Entry, identity: Identity) -> Row:
    """The agent that made a call."""
    system = prompt(entry.call.system_raw, entry.call.system, secrets_of(entry))
    return {
        "id": identity.agent_id,
        "name": identity.agent_name,
        "tools": wirejson.encode(entry.call.tools).decode(),
        "system_message_id": system.id if system else None,
        "first_seen": entry.timing.started,
        "last_seen": entry.timing.started,
    }


def session_row(entry: Entry, identity: Identity) -> Row:
    """The session that a call belongs to, as it is when this is its first call."""
    return {
        "id": identity.session_id,
        "root_session_id": identity.root_session_id,
        "parent_session_id": identity.parent_session_id or None,
        "relation": identity.relation,
        "agent_id": identity.agent_id,
        "client_name": identity.client_name or None,
        "client_scope": entry.request.client.scope or None,
        "because": identity.because,
        "confidence": identity.confidence,
        "evidence": identity.evidence,
        "first_seen": entry.timing.started,
        "last_seen": entry.timing.ended or entry.timing.started,
    }


def call_row(entry: Entry, base_call_id: str | None, base_length: int) -> Row:
    """The call itself; its messages, system prompt and tools are stored beside it."""
    request, call, identity = entry.request, entry.call, entry.identity
    hidden = secrets_of(entry)
    members = [
        (name, credentials.masked_member(name, credentials.without(raw, hidden)))
        for name, raw in call.members
    ]
    row: Row = {
        "id": entry.id,
        "session_id": identity.session_id if identity else None,
        "agent_id": identity.agent_id if identity else None,
        "kind": identity.kind if identity else call.kind,
        "because": identity.because if identity else None,
        "confidence": identity.confidence if identity else None,
        "evidence": identity.evidence if identity else None,
        "is_final": bool(identity and identity.is_final),
        "provider_name": entry.provider or None,
        "upstream": entry.upstream or None,
        "dialect": call.dialect,
        "request_model": call.model or None,
        "previous_response_id": call.previous_response_id or None,
        "is_stream": call.streams,
        "started_at": entry.timing.started,
        "method": request.method,
        "scheme": request.scheme,
        "host": request.host,
        "port": request.port,
        "path": credentials.masked_path(request.path),
        "request_headers": wirejson.encode(credentials.masked_headers(request.headers)).decode(),
        "stamped_headers": wirejson.encode(entry.edits).decode(),
        "members": wirejson.encode(
            [(name, raw.decode("utf-8", "replace")) for name, raw in members]
        ).decode(),
        "base_call_id": base_call_id,
        "base_length": base_length,
        "request_bytes": entry.request_bytes,
        "client_address": request.client.address or None,
        "client_connection": request.client.connection or None,
        "user_agent": credentials.masked(request.client.user_agent) or None,
    }
    for name, raw, text in (
        ("system_message_id", call.system_raw, call.system),
        ("tools_message_id", call.tools_raw, ""),
    ):
        kept = prompt(raw, text, hidden)
        row[name] = kept.id if kept else None
    return storable({**row, **outcome_row(entry)})


def outcome_row(entry: Entry) -> Row:
    """How the call ended, as far as it has."""
    hidden = secrets_of(entry)
    reply = entry.reply or Reply()
    usage, total = reply.usage, used(entry.call, entry.reply)
    said = entry.error or reply.error_message
    outcome: Row = {
        "state": entry.state,
        "status": entry.status,
        "error_type": reply.error or None,
        "error_message": _shown(said, hidden) or None,
        "response_model": reply.model or None,
        "response_id": reply.response_id or None,
        "finish_reason": reply.stop_reason or None,
        "first_byte_at": entry.timing.first_byte,
        "ended_at": entry.timing.ended,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_input_tokens": total.total_input_tokens,
        "total_output_tokens": total.total_output_tokens,
        "cost_usd": entry.cost_usd,
        "usage": usage.raw.decode() or None,
        "reply_bytes": entry.reply_bytes,
    }
    return storable(outcome)


def _shown(text: str, hidden: tuple[str, ...]) -> str:
    clean = credentials.without(text.encode("utf-8", "replace"), hidden).decode("utf-8", "replace")
    return credentials.masked(clean)


def stored_message(message: Message, hidden: tuple[str, ...]) -> Said:
    """The row of a message, under the hash of what is stored."""
    return _stored(message.role, transcript(message), message.raw, hidden)


def transcript(message: Message) -> str:
    """What a message says, for people: words, tool calls, tool results, one below the other."""
    return "\n".join(filter(None, map(_line, message.parts)))


def _line(part: Part) -> str:
    if isinstance(part, ToolCall):
        return f"[{part.name} {wirejson.encode(part.arguments).decode('utf-8', 'replace')}]"
    if isinstance(part, Reference):
        return f"[see {part.id}]"
    return f"[{part.type}]" if isinstance(part, Opaque) else part.text


def prompt(raw: bytes, text: str, hidden: tuple[str, ...]) -> Said | None:
    """The row of a system prompt or of the tools, which stand outside the messages."""
    if not raw:
        return None
    if text:
        return _stored("system", text, raw, hidden)
    return _stored("tools", "", credentials.masked_json(raw), hidden)


def _stored(role: str, text: str, raw: bytes, hidden: tuple[str, ...]) -> Said:
    body = credentials.without(raw, hidden)
    clean = credentials.without(text.encode("utf-8", "surrogatepass"), hidden)
    id = sha256(role.encode() + b"\0" + body).hexdigest()[:32]
    row: Row = {
        "id": id,
        "role": role,
        "text": clean.decode("utf-8", "replace") or None,
        "body": body.decode("utf-8", "replace"),
    }
    return Said(id, row)
