"""Entries as bytes, from the proxy to the process that records them; and its reports back.

Both ends are one program of one version on one machine, so pickle will do. What a call asked does
not go as it was read, but as the bytes that it was read from: to read them once more costs the
other process less than it would cost the proxy's loop to write down what was read.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from callerid.settings.load import Configuration
from callerid.traces.rows import Entry, State
from callerid.turn import Call, Client, Dialect, Request
from callerid.wire import parse, wirejson
from callerid.wire.messages import MessageReader

_HEAD = struct.Struct(">QQ")  # how long the pickle is, and what follows it: the body of a request
HEAD_BYTES = _HEAD.size
_NO_CALL = Call(Dialect.COMPLETIONS, "", False, "", (), ())  # it is read from the body
_NO_REQUEST = Request("", "", "", 0, "", (), b"", Client())  # it went with the beginning

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
    """In the place of an entry that could not be made a parcel of."""

    id: str
    size: int
    has_ended: bool


class Lost(Exception):
    """A parcel that says too little: what it was to be added to has not arrived."""


def parcel(said: object, body: bytes = b"") -> Parcel:
    """Anything as bytes."""
    pickled = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    head = _HEAD.pack(len(pickled), len(body)) + pickled
    return (head, body) if body else (head,)


def lengths(head: bytes) -> tuple[int, int]:
    """From the first HEAD_BYTES of a parcel: how many bytes of two kinds follow."""
    pickled, body = _HEAD.unpack(head)
    return pickled, body


def opened(pickled: bytes) -> object:
    """What somebody made a parcel of."""
    return pickle.loads(pickled)


class Packer:
    """Makes parcels of entries, for one process: it knows which calls have begun there."""

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def pack(self, entry: Entry) -> Parcel:
        """What an entry says beyond what was said of its call before."""
        if entry.state is State.IN_FLIGHT and entry.body:
            self._begun.add(entry.id)
            return parcel(replace(entry, call=_NO_CALL, body=b""), entry.body)
        if entry.id in self._begun:
            self._begun.discard(entry.id)
            return parcel(
                replace(entry, request=_NO_REQUEST, call=_NO_CALL, identity=None, edits=())
            )
        return parcel(entry)


class Unpacker:
    """Makes entries of parcels."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self._begun: dict[str, Entry] = {}

    def unpack(self, said: object, body: bytes) -> Entry:
        """An entry as it was; raises Lost."""
        if not isinstance(said, Entry):
            raise Lost(f"an entry was expected, and this came: {said}")
        if body:
            entry = replace(said, call=self._read(said, body), body=body)
            self._begun[said.id] = replace(entry, body=b"")
            return entry
        if said.request != _NO_REQUEST:
            return said
        begun = self._begun.pop(said.id, None)
        if begun is None:
            raise Lost(f"{said.id}: how it ended has come, but not how it began")
        return replace(
            said, request=begun.request, call=begun.call, identity=begun.identity, edits=begun.edits
        )

    def _read(self, said: Entry, body: bytes) -> Call:
        try:
            call = parse.parse_call(said.request.path, body, self._reader)
        except wirejson.NotJSON as error:
            raise Lost(f"{said.id}: its body could not be read: {error}") from None
        if call is None:
            raise Lost(f"{said.id}: its body is no call")
        return call
