"""How long mitmdump takes to start: from its command to where it listens."""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple

from lab.duel import ADDON, QUIET
from lab.proxy import Proxy

ROUNDS = 5


class Startup(NamedTuple):
    """Seconds, the middle of several starts each."""

    bare: float
    ours: float


def measure(rounds: int = ROUNDS) -> Startup:
    """Start both in turn; the first of each does not count."""
    took: tuple[list[float], list[float]] = [], []
    for _ in range(rounds + 1):
        for script, times in zip((None, ADDON), took, strict=True):
            began = time.monotonic()
            with Proxy(script, options=QUIET):
                times.append(time.monotonic() - began)
    return Startup(*(median(times[1:]) for times in took))
