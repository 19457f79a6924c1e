"""Splits JSON objects that grow from call to call, without reading again what was read before.

Agents send their whole history with every call, and only its end is new. A body is compared with
those that were split before it; what it begins with was read then, and only the rest is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from callerid.wire import wirejson

LEAST_BYTES = 8 << 10  # of a body: smaller ones are split sooner than looked for
MOST_BODIES = 64
MOST_BYTES = 32 << 20
# Clients change their last messages (a mark for the provider's cache moves on), and those before no
# more. So many ends of messages are tried, from the last one back.
TRIED = 8
PROBE = 48  # bytes at some places that are compared first
_OURS = "callerid's own"
_OPENING = b'{"callerid\'s own":['
_SPACE = b" \t\r\n"
_BETWEEN = (b" ", b"\t", b"\r", b"\n", b",")


class Members(dict[str, bytes]):
    """The members of an object, each still JSON; and the items of one of them, where it is known.

    `array` is that member's name.
    """

    array = ""
    items_of_array: Sequence[bytes] = ()


class _Split(NamedTuple):
    """A body that was split: the items of its array, and where in it they end.

    `before` are the members up to the array, which begins at `start`.
    """

    body: bytes
    before: Mapping[str, bytes]
    array: str
    start: int
    items: list[bytes]
    ends: list[int]

    def is_near(self, body: bytes) -> bool:
        """Whether another body is alike where the array begins: most are not."""
        near = slice(max(self.start - PROBE, 0), self.start + PROBE)
        return body[near] == self.body[near]

    def begins(self, body: bytes, end: int) -> bool:
        """Whether another body begins with this one, up to some byte."""
        near = slice(max(end - PROBE, 0), end)
        return body[near] == self.body[near] and body.startswith(memoryview(self.body)[:end])


class _Read(NamedTuple):
    split: _Split
    members: dict[str, bytes]


class Bodies:
    """The bodies that were split last, and how others are split that go on from them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._known: OrderedDict[int, _Split] = OrderedDict()  # the newest last
        self._bytes = 0
        self._most_bytes = most_bytes
        self._serial = 0

    def members(self, body: bytes) -> dict[str, bytes]:
        """As wirejson.members: the members of an object; raises NotJSON."""
        if len(body) < LEAST_BYTES:
            return wirejson.members(body)
        if (found := self._grown(body)) is not None:
            return found
        members = wirejson.members(body)
        return self._split(body, members) or members

    def _grown(self, body: bytes) -> Members | None:
        """The members of a body that goes on from one that is known; None where none is."""
        near = [serial for serial in reversed(self._known) if self._known[serial].is_near(body)]
        for back in range(1, TRIED + 1):
            for serial in near:
                split = self._known[serial]
                kept = len(split.ends) - back + 1
                if kept > 0 and split.begins(body, split.ends[kept - 1]):
                    if (read := _go_on(split, body, kept)) is None:
                        return None
                    self._forget(serial)
                    return self._keep(read)
        return None

    def _split(self, body: bytes, members: dict[str, bytes]) -> Members | None:
        """Split the largest array of an object too, and keep both; None where that is no use."""
        name = max(members, key=lambda name: len(members[name]), default="")
        raw = members.get(name, b"")
        if not raw.startswith(b"[") or len(raw) < LEAST_BYTES // 2:
            return None
        start = _place(body, raw)
        items = wirejson.items(raw)
        ends = _ends(body, items, start + 1)
        before = _before(body, start, name)
        if ends is None or before is None:
            return None
        return self._keep(_Read(_Split(body, before, name, start, items, ends), members))

    def _keep(self, read: _Read) -> Members:
        split = read.split
        self._serial += 1
        self._known[self._serial] = split
        self._bytes += len(split.body)
        while self._known and (len(self._known) > MOST_BODIES or self._bytes > self._most_bytes):
            self._forget(next(iter(self._known)))
        members = Members(read.members)
        members.array, members.items_of_array = split.array, split.items
        return members

    def _forget(self, serial: int) -> None:
        self._bytes -= len(self._known.pop(serial).body)


def items(members: Mapping[str, bytes], name: str) -> list[bytes]:
    """The items of the array that a member is, each still JSON; raises KeyError and NotJSON."""
    if isinstance(members, Members) and members.array == name:
        return list(members.items_of_array)
    return wirejson.items(members[name])


def _go_on(split: _Split, body: bytes, kept: int) -> _Read | None:
    """Split what a body has after the items that it shares with another; None where that fails.

    It is read as an object that begins in the middle of the array, which gets a name of ours: so
    it is seen whether the array's own name comes again. Then, as where a member from before it
    does, the last would count, and that is not for us.
    """
    rest = body[split.ends[kept - 1] :].lstrip(_SPACE)
    if rest.startswith(b","):
        rest = rest[1:].lstrip(_SPACE)
        if rest.startswith(b"]"):
            return None
    elif not rest.startswith(b"]"):
        return None
    try:
        after = wirejson.members(_OPENING + rest)
        new = after.pop(_OURS, b"")
        more = wirejson.items(new)
    except wirejson.NotJSON:
        return None
    names = after.keys() | {split.array}
    stop = len(body) - len(rest) + len(new) - 1  # the array's end; its bracket stood before `rest`
    ends = _ends(body, more, len(body) - len(rest))
    if ends is None or not rest.startswith(new[1:]) or _OURS.encode() in body[stop:]:
        return None
    if split.array in after or not names.isdisjoint(split.before):
        return None
    members = {**split.before, split.array: body[split.start : stop], **after}
    whole, places = split.items[:kept] + more, split.ends[:kept] + ends
    return _Read(_Split(body, split.before, split.array, split.start, whole, places), members)


def _before(body: bytes, start: int, name: str) -> dict[str, bytes] | None:
    """The members of a body up to one that begins somewhere; None where none does."""
    try:
        members = wirejson.members(body[:start] + b"null}") if start > 0 else {}
    except wirejson.NotJSON:
        return None
    if next(reversed(members), None) != name or members.pop(name) != b"null":
        return None
    return members


def _place(body: bytes, raw: bytes) -> int:
    """Where in a body something long stands for the first time; -1 where it does not."""
    at = body.find(raw[:PROBE])
    while at >= 0 and not body.startswith(raw, at):
        at = body.find(raw[:PROBE], at + 1)
    return at


def _ends(body: bytes, items: Sequence[bytes], start: int) -> list[int] | None:
    """Where in a body some items of an array end that follow one another; None where they do not.

    To look for them would take much longer: they are where the last has ended, or nowhere.
    """
    ends = []
    for item in items:
        while body[start : start + 1] in _BETWEEN:
            start += 1
        if not item or not body.startswith(item, start):
            return None
        start += len(item)
        ends.append(start)
    return ends
