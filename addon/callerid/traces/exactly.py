"""What is kept of the bytes of a request and its reply, so that they can be rebuilt, and how well.

The messages, the system prompt and the tools of a request are stored beside it; here is the rest:
its other members, how its JSON was laid out, and where that does not give the same bytes, what to
change in them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from callerid import credentials
from callerid.traces import layout as layouts
from callerid.traces.layout import COMPACT, Value
from callerid.traces.pack import packed, packed_against
from callerid.traces.rows import Entry, Exactness, Row
from callerid.turn import Stood
from callerid.wire import wirejson

AGAINST_FROM = 2048  # bytes of a reply; below, packing against its messages saves too little
REMEMBERED = 2048  # short members of bodies: nearly all come again
REMEMBERED_BYTES = 256
WEBSOCKET = "WEBSOCKET"  # what the desk calls the method of a call in frames


class _Member(NamedTuple):
    """A member of a body as it is stored, and what became of it on the way."""

    name: str
    text: str
    is_masked: bool
    is_text: bool


def request(entry: Entry, hidden: tuple[str, ...], *, is_as_sent: bool) -> Row:
    """The columns for a request's body; `is_as_sent` says that its messages hold no masks."""
    call, body = entry.call, entry.body
    members = [
        (_short_member if len(raw) <= REMEMBERED_BYTES else _member)(name, raw, hidden)
        for name, raw in call.members
    ]
    shown = [(member.name, member.text) for member in members]
    row: Row = {
        "members": wirejson.encode(shown).decode(),
        "layout": None,
        "request_patch": None,
        "request_exactness": Exactness.EQUAL.value,
    }
    is_masked = not is_as_sent or any(member.is_masked for member in members)
    if body:
        kept: dict[bytes, Value] = {
            Stood.MESSAGES: [message.raw for message in call.messages],
            Stood.SYSTEM: call.system_raw,
            Stood.TOOLS: call.tools_raw,
        }
        whole = layouts.filled(call.members, kept)
        layout = layouts.likely(body)
        is_built = layouts.built(whole, layout) == body
        if not is_built:
            layout = layouts.found(body, whole)
            is_built = layouts.built(whole, layout) == body
            layout = layout if is_built else COMPACT
        row["layout"] = layouts.written(layout)
        if is_built and all(member.is_text for member in members):
            row["request_exactness"] = Exactness.EXACT.value
        elif not is_masked:
            stored = [(name, raw.encode()) for name, raw in shown]
            row |= _patch(body, layouts.built(layouts.filled(stored, kept), layout), hidden)
        if entry.request.method == WEBSOCKET:  # the frame was read, and written again
            row["request_exactness"] = Exactness.EQUAL.value
    if is_masked:
        row["request_exactness"] = Exactness.REDACTED.value
    return row


def _member(name: str, raw: bytes, hidden: tuple[str, ...]) -> _Member:
    shown = credentials.masked_member(name, credentials.without(raw, hidden))
    text = shown.decode("utf-8", "replace")
    return _Member(name, text, shown != raw, shown.isascii() or text.encode() == shown)


_short_member = lru_cache(maxsize=REMEMBERED)(_member)


def _patch(body: bytes, built: bytes, hidden: tuple[str, ...]) -> Row:
    """What makes the body of what is built; nothing where that could hold what is secret."""
    text = body.decode("utf-8", "replace")
    shown = credentials.masked_json(credentials.without(body, hidden))
    if shown != body or credentials.masked(text) != text:
        state = Exactness.EQUAL if _are_equal(body, built) else Exactness.REDACTED
        return {"request_exactness": state.value}
    return {
        "request_patch": packed_against(built, body),
        "request_exactness": Exactness.EXACT.value,
    }


def _are_equal(one: bytes, other: bytes) -> bool:
    try:
        pair = [wirejson.encode_sorted(wirejson.decode(raw)) for raw in (one, other)]
    except wirejson.NotJSON:
        return False
    return pair[0] == pair[1]


class KeptReply(NamedTuple):
    """The bytes of a reply, packed (None: not kept), against its messages or not."""

    body: bytes | None
    is_against_messages: bool
    exactness: Exactness


NOT_KEPT = KeptReply(None, False, Exactness.ABSENT)


def reply(entry: Entry, hidden: tuple[str, ...], *, is_as_sent: bool) -> KeptReply:
    """What is kept of a reply's bytes; `is_as_sent` says that its messages hold no masks."""
    if entry.reply_body is None:
        return NOT_KEPT
    plain = b"".join(entry.reply_body)
    shown = credentials.without(plain, hidden)
    if entry.reply is not None and entry.reply.error:  # some quote the key, or a part of it
        text = shown.decode("utf-8", "surrogateescape")
        shown = credentials.masked(text).encode("utf-8", "surrogateescape")
    if shown != plain or not is_as_sent:
        # A secret may be cut into pieces by a stream, in which it is not found.
        is_safe = is_as_sent or _is_whole(shown)
        return KeptReply(packed(shown), False, Exactness.REDACTED) if is_safe else NOT_KEPT
    exactness = Exactness.EQUAL if entry.request.method == WEBSOCKET else Exactness.EXACT
    messages = entry.reply.messages if entry.reply is not None else ()
    if len(entry.reply_body) == 1 and len(plain) >= AGAINST_FROM and messages:
        known = b"".join(message.raw for message in messages)
        return KeptReply(packed_against(known, plain), True, exactness)
    return KeptReply(packed(plain), False, exactness)


def _is_whole(body: bytes) -> bool:
    try:
        wirejson.decode(body)
    except wirejson.NotJSON:
        return False
    return True
