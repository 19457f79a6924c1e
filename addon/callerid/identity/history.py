"""A history as a chain of hashes: every prefix of what was said has a name of its own.

`h[i] = H(h[i-1], unit[i])`, beginning from the scope of the credential, so that two customers
never meet in one name. A longer history keeps the names of the shorter.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import msgspec

from callerid.turn import Message, Role, Unit
from callerid.wire import canonical

LEAST_TRACED = 16  # messages: shorter histories are traced sooner than looked for
MOST_TRAILS = 64
TRIED = 8  # messages from the end: clients change some of the last, and those before no more
LOOKED_AT = 32  # messages from the end, most of them new
Link = bytes  # the name of a prefix; canonical.DIGEST_BYTES long


class History(msgspec.Struct, frozen=True, gc=False):
    """What was said up to one call: the units, and the name of the prefix that each one ends.

    `start` is the name of the empty prefix: the scope, or, where the client sends only what is
    new, the link of the reply that it goes on from. `is_cut` says that somewhere in
    it words of the model follow one another.
    """

    start: Link
    units: tuple[Unit, ...]
    links: tuple[Link, ...]
    is_cut: bool

    @property
    def end(self) -> Link:
        """The name of the whole history."""
        return self.links[-1] if self.links else self.start

    def model_units(self) -> list[tuple[int, Unit]]:
        """What the model said, with its places."""
        return [(at, unit) for at, unit in enumerate(self.units) if unit.role is Role.ASSISTANT]

    def joined(self) -> History:
        """The history with a model's messages that follow one another as one."""
        if not self.is_cut:
            return self
        units = canonical.joined(list(self.units))
        return self if len(units) == len(self.units) else _of(self.start, units)


class Trail(msgspec.Struct, frozen=True, gc=False):
    """A history that another can be built on without reading it again.

    `ends` says how many units lie up to the end of each message; -1 where results of tools come
    last, whose order those that follow may change.
    """

    messages: tuple[Message, ...]
    history: History
    ends: tuple[int, ...]

    def grown(self, length: int, messages: Sequence[Message]) -> Trail:
        """The trail of the first messages of this one, so many, with others after them."""
        whole = (*self.messages[:length], *messages)
        while length and self.ends[length - 1] < 0:
            length -= 1
        at = self.ends[length - 1] if length else 0
        units, ends = list(self.history.units[:at]), list(self.ends[:length])
        waiting: list[Message] = []
        for message in whole[length:]:
            waiting.append(message)
            if message.units[-1].is_tool_result if message.units else len(waiting) > 1:
                ends.append(-1)
                continue
            units += canonical.in_order(waiting)
            ends.append(len(units))
            waiting.clear()
        units += canonical.in_order(waiting)
        start, links = self.history.start, self.history.links[:at]
        more = extend(links[-1] if links else start, units[at:])
        is_cut = _is_cut(units if self.history.is_cut else units[max(at - 1, 0) :])
        return Trail(whole, History(start, tuple(units), (*links, *more), is_cut), tuple(ends))


class Trails:
    """The histories that were traced last, and how others are that go on from them."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Kept] = OrderedDict()  # the newest last
        self._by_message: dict[int, int] = {}  # by the identity of one of the last messages
        self._serial = 0

    def history(self, scope: str, messages: tuple[Message, ...]) -> History:
        """The history that some messages make from the beginning; as `trace`."""
        if len(messages) < LEAST_TRACED:
            return trace(beginning(scope), messages)
        shared, serial = self._nearest(scope, messages)
        base = self._forget(serial) if serial else trail(scope)
        found = base.grown(shared, messages[shared:])
        self._keep(_Kept(scope, found))
        return found.history

    def _nearest(self, scope: str, messages: tuple[Message, ...]) -> tuple[int, int]:
        """How many messages a known history has in common, the very same objects; and which."""
        for at in range(len(messages) - 1, max(len(messages) - LOOKED_AT, 0) - 1, -1):
            serial = self._by_message.get(id(messages[at]), 0)
            if serial and self._known[serial].scope == scope:
                known = self._known[serial].trail.messages[: at + 1]
                if len(known) == at + 1 and all(map(operator.is_, known, messages)):
                    return at + 1, serial
        return 0, 0

    def _keep(self, kept: _Kept) -> None:
        self._serial += 1
        self._known[self._serial] = kept
        for message in kept.trail.messages[-TRIED:]:
            self._by_message[id(message)] = self._serial
        if len(self._known) > MOST_TRAILS:
            self._forget(next(iter(self._known)))

    def _forget(self, serial: int) -> Trail:
        found = self._known.pop(serial).trail
        for message in found.messages[-TRIED:]:
            if self._by_message.get(id(message)) == serial:
                del self._by_message[id(message)]
        return found


class _Kept(NamedTuple):
    scope: str
    trail: Trail


def trail(scope: str) -> Trail:
    """The trail of a history of one scope, in which nothing was said yet."""
    return Trail((), History(beginning(scope), (), (), is_cut=False), ())


@lru_cache(maxsize=MOST_TRAILS)
def beginning(scope: str) -> Link:
    """The name of the empty history of one scope."""
    return canonical.digest("history", scope)


def trace(start: Link, messages: Iterable[Message]) -> History:
    """The history that some messages make, going on from `start`."""
    return _of(start, canonical.in_order(messages))


def _of(start: Link, units: list[Unit]) -> History:
    return History(start, tuple(units), tuple(extend(start, units)), _is_cut(units))


def _is_cut(units: Sequence[Unit]) -> bool:
    return any(one.letters and two.letters for one, two in pairwise(units))


def extend(link: Link, units: Iterable[Unit]) -> list[Link]:
    """The links that some units add."""
    links = []
    for unit in units:
        link = sha256(link + unit.digest).digest()[: canonical.DIGEST_BYTES]
        links.append(link)
    return links


def key(scope: Link, unit: Unit) -> int:
    """A 60-bit name of one unit within a scope, wherever in a history it stands."""
    return (int.from_bytes(scope[:8]) ^ int.from_bytes(unit.digest[:8])) >> 4


def salt(scope: Link) -> int:
    """A number that keeps the sketches of one scope apart from those of others."""
    return int.from_bytes(scope[:4])
