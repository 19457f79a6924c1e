"""What is written down of a call: the rows of traces.db, without anything secret."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from callerid import credentials
from callerid.prices import used
from callerid.stamp.stamper import Edit
from callerid.turn import Call, HeaderList, Identity, Reply, Request, Timing, ToolCall
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


class Exactness(StrEnum):
    """How a body on record compares with the one that passed, unpacked."""

    EXACT = "exact"  # the same bytes
    EQUAL = "equal"  # the same JSON, spaced or escaped otherwise
    REDACTED = "redacted"  # something secret is masked in it
    ABSENT = "absent"  # there is none on record


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A call as it stands, to be written down; it is written when it begins and when it ends.

    `body` is the request's, unpacked: only what begins brings it, and only until it is written.
    `reply_body` are the bytes of the reply as they came, unpacked; None where they are not kept.
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
    body: bytes = b""
    reply_body: tuple[bytes, ...] | None = None
    kept_bytes: int = 0
    reply_headers: HeaderList = ()

    @property
    def has_ended(self) -> bool:
        """Whether it is written because its call has ended."""
        return self.state is not State.IN_FLIGHT

    @property
    def size(self) -> int:
        """How many bytes it keeps in memory, about, while it waits to be written.

        What was asked is counted with the entry of its beginning, which shares it.
        """
        if self.state is State.IN_FLIGHT:
            return self.request_bytes
        return max(self.reply_bytes or 0, self.kept_bytes)


def storable(row: Row) -> Row:
    """A row as SQLite takes it: no halves of characters, and no number above 64 bits."""
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


def agent_row(entry: Entry, identity: Identity, system_message_id: str | None) -> Row:
    """The agent that made a call."""
    return {
        "id": identity.agent_id,
        "name": identity.agent_name,
        "tools": wirejson.encode(entry.call.tools).decode(),
        "system_message_id": system_message_id,
        "first_seen": entry.timing.started,
        "last_seen": entry.timing.started,
    }


def session_row(entry: Entry, identity: Identity) -> Row:
    """The session that a call belongs to, as it is when this is its first call."""
    return {
        "id": identity.session_id,
        "root_session_id": identity.root_session_id,
        "parent_session_id": identity.parent_session_id or None,
        "relation": identity.relation.value if identity.relation else None,
        "agent_id": identity.agent_id,
        "client_name": identity.client_name or None,
        "client_scope": entry.request.client.scope or None,
        "because": identity.because.value,
        "confidence": identity.confidence,
        "evidence": identity.evidence,
        "first_seen": entry.timing.started,
        "last_seen": entry.timing.ended or entry.timing.started,
    }


def call_row(entry: Entry, hidden: tuple[str, ...], stored: Row) -> Row:
    """The call itself, with the columns that say what is `stored` beside it, and where."""
    request, call = entry.request, entry.call
    headers = credentials.masked_headers(request.headers)
    return {
        "id": entry.id,
        **_identity_row(entry.identity, call),
        "provider_name": entry.provider or None,
        "upstream": entry.upstream or None,
        "dialect": call.dialect.value,
        "request_model": call.model or None,
        "previous_response_id": call.previous_response_id or None,
        "is_stream": int(call.streams),
        "started_at": entry.timing.started,
        "method": request.method,
        "scheme": request.scheme,
        "host": request.host,
        "port": request.port,
        "path": credentials.masked_path(request.path),
        "request_headers": wirejson.encode(headers).decode(),
        "stamped_headers": wirejson.encode(entry.edits).decode(),
        "request_bytes": entry.request_bytes,
        "client_address": request.client.address or None,
        "client_connection": request.client.connection or None,
        "user_agent": credentials.masked_user_agent(request.client.user_agent) or None,
        **stored,
        **outcome_row(entry, hidden),
    }


def _identity_row(identity: Identity | None, call: Call) -> Row:
    return {
        "session_id": identity.session_id if identity else None,
        "agent_id": identity.agent_id if identity else None,
        "kind": (identity.kind if identity else call.kind).value,
        "because": identity.because.value if identity else None,
        "confidence": identity.confidence if identity else None,
        "evidence": identity.evidence if identity else None,
        "is_final": int(bool(identity and identity.is_final)),
    }


def outcome_row(entry: Entry, hidden: tuple[str, ...]) -> Row:
    """How the call ended, as far as it has."""
    reply = entry.reply or Reply()
    usage, total = reply.usage, used(entry.call, entry.reply)
    said = entry.error or reply.error_message
    return {
        "state": entry.state.value,
        "status": entry.status,
        "error_type": reply.error or None,
        "error_message": _shown(said, hidden) if said else None,
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
        "reply_headers": _reply_headers(entry.reply_headers, hidden),
    }


def _reply_headers(headers: HeaderList, hidden: tuple[str, ...]) -> str | None:
    if not headers:
        return None
    written = wirejson.encode(credentials.masked_headers(headers))
    return credentials.without(written, hidden).decode()


def tool_calls(
    call_id: str, reply: Reply, hidden: tuple[str, ...]
) -> list[tuple[str, int, str, str]]:
    """What tools a reply asks for: (call, position, name, the provider's id of the tool call)."""
    parts = (part for message in reply.messages for part in message.parts)
    asked = (part for part in parts if isinstance(part, ToolCall))
    return [
        (call_id, at, _shown(each.name, hidden), _shown(each.id, hidden))
        for at, each in enumerate(asked)
    ]


def _shown(text: str, hidden: tuple[str, ...]) -> str:
    clean = credentials.without(text.encode("utf-8", "replace"), hidden).decode("utf-8", "replace")
    return credentials.masked(clean)
