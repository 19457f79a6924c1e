"""Time on a line: long pauses, in which nothing happens, are drawn short and marked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

PAUSE = 22.0  # units: what a long pause is drawn as
LEAST_SECONDS = 20.0  # shorter pauses are drawn as long as they are: tools take that long
LEAST_SHARE = 0.1  # of all time in which something happens
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300,
          600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # fmt: skip
_TICKS = 9


class Stretch(NamedTuple):
    """A time in which something happens, and where it is drawn."""

    begin: float
    end: float
    left: float
    right: float


class Scale(NamedTuple):
    """The line: its stretches, and how many units a second takes."""

    stretches: tuple[Stretch, ...]
    unit: float

    def x(self, at: float) -> float:
        """Where a moment is drawn."""
        number = max(0, bisect_right(self.stretches, at, key=lambda each: each.begin) - 1)
        there = self.stretches[number]
        return round(min(there.left + max(0.0, at - there.begin) * self.unit, there.right), 2)

    def pauses(self) -> list[tuple[float, float]]:
        """The long pauses: where each is drawn, and how many seconds it is."""
        return [
            (round(one.right + PAUSE / 2, 2), two.begin - one.end)
            for one, two in pairwise(self.stretches)
        ]

    def ticks(self) -> list[tuple[float, float]]:
        """Moments that are marked: where, and how many seconds after the beginning."""
        whole = sum(each.end - each.begin for each in self.stretches)
        step = next((step for step in _STEPS if whole / step <= _TICKS), _STEPS[-1])
        begin = self.stretches[0].begin
        found: list[tuple[float, float]] = []
        for each in self.stretches:
            at = -(-(each.begin - begin) // step) * step
            while begin + at <= each.end and len(found) < 4 * _TICKS:
                found.append((self.x(begin + at), at))
                at += step
        return found


def scale(spans: Iterable[tuple[float, float]], width: float) -> Scale:
    """The line on which some spans of time are drawn; there must be one."""
    busy: list[list[float]] = []
    for begin, end in sorted(spans):
        if busy and begin <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], end)
        else:
            busy.append([begin, end])
    least = max(LEAST_SECONDS, LEAST_SHARE * sum(end - begin for begin, end in busy))
    drawn = [busy[0]]
    for begin, end in busy[1:]:
        if begin - drawn[-1][1] < least:
            drawn[-1][1] = end
        else:
            drawn.append([begin, end])
    pause = min(PAUSE, width / (2 * len(drawn)))
    seconds = sum(end - begin for begin, end in drawn)
    unit = (width - pause * (len(drawn) - 1)) / max(seconds, 1e-3)
    stretches, left = [], 0.0
    for begin, end in drawn:
        right = left + (end - begin) * unit
        stretches.append(Stretch(begin, end, left, right))
        left = right + pause
    return Scale(tuple(stretches), unit)
