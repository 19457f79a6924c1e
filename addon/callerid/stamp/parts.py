"""The parts of an identity that a header can carry, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from urllib.parse import quote

from callerid.turn import Identity, Relation

# https://www.w3.org/TR/baggage/#key: what of OpenTelemetry's registry goes into baggage.
_RUN, _CONVERSATION = "session.id", "gen_ai.conversation.id"


def part(name: str, identity: Identity, call_id: str) -> str:
    """A part of the identity, by the name it has in profiles; "" where the call has none.

    What a header cannot carry as it is (an id that is no visible ASCII) is not carried at all.
    """
    value = _PARTS[name](identity, call_id)
    return value if value.isascii() and value.isprintable() else ""


def joined_baggage(there: str, ours: str) -> str:
    """A baggage header with our members, where it has none of their names."""
    names = {member.partition("=")[0].strip() for member in there.split(",")}
    new = [member for member in ours.split(",") if member.partition("=")[0] not in names]
    return ",".join(([there] if there.strip() else []) + new)


def _final(identity: Identity, _: str) -> str:
    return "true" if identity.is_final else ""


def _child(identity: Identity, _: str) -> str:
    return identity.session_id if identity.parent_session_id else ""


def _is_subagent(identity: Identity, _: str) -> str:
    return "true" if identity.relation is Relation.SUBAGENT else ""


def _name(identity: Identity, _: str) -> str:
    return identity.client_name or identity.agent_name


def _path(identity: Identity, _: str) -> str:
    return "".join(f"/{quote(id, safe='')}" for id in identity.path or (identity.session_id,))


def _traceparent(identity: Identity, call_id: str) -> str:
    """https://www.w3.org/TR/trace-context/#traceparent-header: one trace a run, one span a call."""
    return f"00-{trace_id(identity.root_session_id)}-{span_id(call_id)}-01"


def trace_id(run: str) -> str:
    """The trace of a run, 32 hexadecimal digits: the same wherever the run is told of."""
    return _digest(run, 16)


def span_id(name: str) -> str:
    """The span of a call, or of anything that has a name, 16 hexadecimal digits."""
    return _digest(name, 8)


def _digest(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _baggage(identity: Identity, _: str) -> str:
    run, conversation = quote(identity.root_session_id), quote(identity.session_id)
    return f"{_RUN}={run},{_CONVERSATION}={conversation}"


_PARTS: Mapping[str, Callable[[Identity, str], str]] = {
    "session": lambda identity, _: identity.session_id,
    "parent": lambda identity, _: identity.parent_session_id,
    "root": lambda identity, _: identity.root_session_id,
    "child": _child,
    "path": _path,
    "agent": lambda identity, _: identity.agent_id,
    "agent_name": lambda identity, _: identity.agent_name,
    "name": _name,
    "client": lambda identity, _: identity.client_name,
    "kind": lambda identity, _: str(identity.kind),
    "final": _final,
    "is_subagent": _is_subagent,
    "traceparent": _traceparent,
    "baggage": _baggage,
}
NAMES = tuple(_PARTS)
