"""The same calls again and again, each time with other words: a load that costs little to make."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from callerid.ids import new_id
from callerid.traces import layout
from callerid.traces.rows import Entry
from callerid.turn import Message, Stood


class Pair(NamedTuple):
    """A call as it begins, and as it ends."""

    begun: Entry
    ended: Entry


def endlessly(entries: list[Entry]) -> Iterator[Pair]:
    """Copies of some calls, round after round; in each, the sessions and all messages are new."""
    begun = {entry.id: entry for entry in entries if entry.body}
    pairs = [Pair(begun[entry.id], entry) for entry in entries if not entry.body]
    for number in itertools.count():
        made: dict[int, Message] = {}
        for pair in pairs:
            yield _copied(pair, number, made)


def _copied(pair: Pair, number: int, made: dict[int, Message]) -> Pair:
    begun, ended = pair
    id = new_id("call")
    messages = tuple(_other(message, number, made) for message in begun.call.messages)
    call = msgspec.structs.replace(begun.call, messages=messages)
    kept: dict[bytes, layout.Value] = {
        Stood.MESSAGES: [message.raw for message in messages],
        Stood.SYSTEM: call.system_raw,
        Stood.TOOLS: call.tools_raw,
    }
    body = layout.built(layout.filled(call.members, kept), layout.likely(begun.body))
    identity = begun.identity
    if identity is not None:
        session_id = f"{identity.session_id}{number}"
        identity = msgspec.structs.replace(identity, session_id=session_id)
    changes = {"id": id, "call": call, "identity": identity}
    reply = ended.reply
    if reply is not None:
        said = tuple(_other(message, number, made) for message in reply.messages)
        reply = msgspec.structs.replace(reply, messages=said)
    return Pair(
        msgspec.structs.replace(begun, body=body, request_bytes=len(body), **changes),
        msgspec.structs.replace(ended, reply=reply, **changes),
    )


def _other(message: Message, number: int, made: dict[int, Message]) -> Message:
    """A message of this round: it has one member more."""
    found = made.get(id(message))
    if found is None:
        raw = b'{"round":%d,' % number + message.raw[1:]
        found = made[id(message)] = Message(message.role, message.parts, raw, message.units)
    return found
