"""Entries as bytes, from the proxy to the process that records them; and its reports back.

Both ends are one program of one version on one machine, so pickle will do. What a call asked does
not go as it was read, but as the bytes that it was read from (deltas.py): to read them once more
costs the other process less than it would cost the proxy's loop to write down what was read.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from callerid.guard import Guard
from callerid.settings.load import Configuration
from callerid.traces.deltas import Delta, Lengthener, Shortener
from callerid.traces.rows import Entry, State
from callerid.turn import Call, Client, Dialect, Identity, Kind, Request
from callerid.wire import parse, wirejson
from callerid.wire.messages import MessageReader

_HEAD = struct.Struct(">QQ")  # how long the pickle is, and what follows it: bodies of requests
HEAD_BYTES = _HEAD.size
_NO_CALL = Call(Dialect.COMPLETIONS, "", False, "", (), ())  # it is read from the body
_NO_REQUEST = Request("", "", "", 0, "", (), b"", Client())  # it went with the beginning

PARCEL_BYTES = 4 << 20  # of entries that go together, about

Parcel = tuple[bytes, ...]


class Order(NamedTuple):
    """What the process that records is to do; the first parcel that it gets."""

    path: Path
    configuration: Configuration


class Report(NamedTuple):
    """What the process that records has done since its last report.

    `counts` are those of its guard, `said` what it logged: (level, text).
    """

    entries: int = 0
    bytes: int = 0
    counts: dict[str, int] = {}  # noqa: RUF012  (never changed)
    said: list[tuple[int, str]] = []  # noqa: RUF012


class Unsent(NamedTuple):
    """In the place of an entry that could not be pickled."""

    id: str
    size: int
    has_ended: bool


class Begun(NamedTuple):
    """An entry of the beginning of a call without what it asked, and how its body is made.

    So many bytes that are new in it follow the parcel's pickle, behind those of others before it.
    """

    entry: Entry | Unsent
    delta: Delta
    size: int


Said = Entry | Begun | Unsent


class Lost(Exception):
    """A parcel that says too little: what it was to be added to has not arrived."""


def parcel(said: object, *bodies: bytes) -> Parcel:
    """Anything as bytes."""
    pickled = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    return (_HEAD.pack(len(pickled), sum(map(len, bodies))) + pickled, *bodies)


def lengths(head: bytes) -> tuple[int, int]:
    """From the first HEAD_BYTES of a parcel: how many bytes of two kinds follow."""
    pickled, bodies = _HEAD.unpack(head)
    return pickled, bodies


def opened(pickled: bytes) -> object:
    """What somebody made a parcel of."""
    return pickle.loads(pickled)


def unpacked(said: object, bodies: bytes) -> Iterator[tuple[object, bytes]]:
    """What a parcel says of each entry, with what is new in its body."""
    start = 0
    for one in said if isinstance(said, list) else [said]:
        size = one.size if isinstance(one, Begun) else 0
        yield one, bodies[start : start + size]
        start += size


class Packer:
    """Makes parcels of entries, for one process: it knows which calls have begun there."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._begun: set[str] = set()
        self._shortener = Shortener()

    def pack(self, entries: Sequence[Entry]) -> Parcel:
        """What some entries say beyond what was said of their calls before.

        They go together, as pickle writes the name of each type once a parcel.
        """
        said: list[Said] = []
        bodies: list[bytes] = []
        for entry in entries:
            if entry.state is State.IN_FLIGHT and entry.body:
                lines = _lines(entry.identity)
                delta, new = self._shortener.shorten(entry.body, lines)
                self._shortener.keep(delta, entry.body, lines[0])
                self._begun.add(entry.id)
                said.append(Begun(replace(entry, call=_NO_CALL, body=b""), delta, len(new)))
                bodies.append(new)
            elif entry.id in self._begun:
                self._begun.discard(entry.id)
                said.append(
                    replace(entry, request=_NO_REQUEST, call=_NO_CALL, identity=None, edits=())
                )
            else:
                said.append(entry)
        with self._guard("record"):
            return parcel(said, *bodies)
        return parcel([self._sendable(one) for one in said], *bodies)

    def _sendable(self, said: Said) -> Said:
        """What can be sent of an entry; how its body is made can, for others are made of it."""
        with self._guard("record"):
            pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
            return said
        return said._replace(entry=unsent(said.entry)) if isinstance(said, Begun) else unsent(said)


def unsent(said: Entry | Unsent) -> Unsent:
    """What goes in the place of an entry."""
    return Unsent(said.id, said.size, said.has_ended)


class Unpacker:
    """Makes entries of parcels."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self._begun: dict[str, Entry] = {}
        self._lengthener = Lengthener()

    def unpack(self, said: object, new: bytes) -> Entry:
        """An entry as it was, with what came behind it; raises Lost."""
        if isinstance(said, Begun):
            return self._begin(said, new)
        if isinstance(said, Unsent):
            raise Lost(f"{said.id}: it could not be sent")
        if not isinstance(said, Entry):
            raise Lost(f"an entry was expected, and this came: {said}")
        if said.request != _NO_REQUEST:
            return said
        begun = self._begun.pop(said.id, None)
        if begun is None:
            raise Lost(f"{said.id}: how it ended has come, but not how it began")
        return replace(
            said, request=begun.request, call=begun.call, identity=begun.identity, edits=begun.edits
        )

    def _begin(self, said: Begun, new: bytes) -> Entry:
        try:
            body = self._lengthener.lengthen(said.delta, new)
        except KeyError as error:
            raise Lost(f"{said.entry.id}: {error.args[0]}") from None
        if isinstance(said.entry, Unsent):
            return self.unpack(said.entry, b"")
        entry = replace(said.entry, call=self._read(said.entry, body))
        self._begun[entry.id] = entry
        return replace(entry, body=body)

    def _read(self, said: Entry, body: bytes) -> Call:
        try:
            call = parse.parse_call(said.request.path, body, self._reader)
        except wirejson.NotJSON as error:
            raise Lost(f"{said.id}: its body could not be read: {error}") from None
        if call is None:
            raise Lost(f"{said.id}: its body is no call")
        return call


def _lines(identity: Identity | None) -> list[tuple[str, bool]]:
    """In which lines of growing bodies a call stands: its own, its session's, its parent's."""
    if identity is None:
        return [("", True)]
    session_id, is_main = identity.session_id, identity.kind is Kind.MAIN
    return [(session_id, is_main), (session_id, True), (identity.parent_session_id, True)]
