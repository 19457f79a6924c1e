"""What a body shares with one that went before it through the same pipe does not go again.

Agents send their whole history with every call; of a megabyte a few kilobytes are new. Both ends
keep the newest bodies, by the same rule, and the sender says what is new between two ends that are
known. They are those of one process and its parent: nothing is lost on the way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

LEAST_BYTES = 4 << 10  # of a body: smaller ones go whole, and are not kept
MOST_BYTES = 32 << 20  # of bodies kept at each end: of more sessions at once all of it goes
MOST_BODIES = 256
_STEP = 64 << 10  # bytes that are compared at once


class Delta(NamedTuple):
    """How a body is made: the first bytes of a kept one, what came with this, its last bytes.

    `base`, `name` and `gone` are numbers of kept bodies: of the one it is made of (0: of none), its
    own (0: it is not kept), and of the one that it takes the place of.
    """

    base: int = 0
    start: int = 0
    end: int = 0
    name: int = 0
    gone: int = 0


class Kept:
    """The bodies that one end keeps, by their numbers; the other end keeps the same."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_bodies: int = MOST_BODIES) -> None:
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._most_bytes, self._most_bodies = most_bytes, most_bodies

    def get(self, number: int) -> bytes:
        """A body; b"" where it is not kept any more."""
        return self._bodies.get(number, b"")

    def keep(self, number: int, body: bytes, gone: int) -> None:
        """Keep a body in the place of another; let go of the oldest where there are too many."""
        self._bytes -= len(self._bodies.pop(gone, b""))
        self._bodies[number] = body
        self._bytes += len(body)
        while len(self._bodies) > self._most_bodies or self._bytes > self._most_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])


class Shortener:
    """Says bodies by what is new in them."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept or Kept()
        self._newest: OrderedDict[Hashable, int] = OrderedDict()  # the number of each line's
        self._count = 0

    def shorten(self, body: bytes, lines: Iterable[Hashable]) -> tuple[Delta, bytes]:
        """How a body is made, and what is new in it.

        It is made of the newest body of the first of some lines that has one.
        """
        if len(body) < LEAST_BYTES:
            return Delta(), body
        newest = [self._newest.get(line, 0) for line in lines]
        base = next(filter(None, newest), 0)
        known, name, gone = self._kept.get(base), self._count + 1, newest[0]
        start = shared_start(known, body)
        end = shared_end(known, body, min(len(known), len(body)) - start)
        if start + end < LEAST_BYTES:
            return Delta(name=name, gone=gone), body
        return Delta(base, start, end, name, gone), body[start : len(body) - end]

    def keep(self, delta: Delta, body: bytes, line: Hashable) -> None:
        """Keep a body that is on its way, as the newest of a line; the other end will too."""
        if not delta.name:
            return
        self._count = delta.name
        self._kept.keep(delta.name, body, delta.gone)
        self._newest[line] = delta.name
        self._newest.move_to_end(line)
        if len(self._newest) > MOST_BODIES:
            self._newest.popitem(last=False)


class Lengthener:
    """Makes bodies of what was new in them."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept or Kept()

    def lengthen(self, delta: Delta, new: bytes) -> bytes:
        """The body; raises KeyError where what it is made of is not here."""
        body = new
        if delta.base:
            known = self._kept.get(delta.base)
            if not known:
                raise KeyError(f"body {delta.base}, which another is made of, is not kept here")
            body = b"".join((known[: delta.start], new, known[len(known) - delta.end :]))
        if delta.name:
            self._kept.keep(delta.name, body, delta.gone)
        return body


def shared_start(one: bytes, two: bytes) -> int:
    """With how many equal bytes two texts begin."""
    view, at, step, most = memoryview(two), 0, _STEP, min(len(one), len(two))
    while step:
        while at + step <= most and one.startswith(view[at : at + step], at):
            at += step
        step //= 2
    return at


def shared_end(one: bytes, two: bytes, most: int) -> int:
    """With how many equal bytes two texts end, no more than `most`."""
    view, at, step = memoryview(two), 0, _STEP
    while step:
        end = len(two) - at
        while at + step <= most and one.endswith(view[end - step : end], 0, len(one) - at):
            at += step
            end -= step
        step //= 2
    return at
