"""What a call costs, and what a session holds, as sessions grow in number: no proxy, no disk.

`python -m lab.growth 1000` lets a switchboard know so many sessions and prints what was measured
as JSON. Each number wants a process of its own: memory given back would spoil the next figure.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from callerid.identity.switchboard import Switchboard
from callerid.settings.load import Configuration, load
from callerid.turn import Client, Dialect, Request
from callerid.wire import canonical, parse
from callerid.wire.messages import MessageReader
from lab import canned
from lab.load import percentiles
from lab.longtalks import Shape, conversation

SHAPE = Shape("2 KB", 2_000, turns=4, growth=500)
HELD = SHAPE.turns - 1  # turns of a session when it is weighed; the last one is timed
SAMPLES = 500  # calls of each kind that are timed
_WARM_UP = 300  # sessions of another switchboard: what is made once belongs to no session
_PATH = "/v1/messages"
_SECONDS_A_CALL = 0.001  # far within the time after which silent sessions are forgotten


class Figures(NamedTuple):
    """What was measured: microseconds a call with its reply, bytes a session."""

    sessions: int
    continuing_p50: float
    continuing_p99: float
    new_p50: float
    new_p99: float
    session_bytes: float


class Exchange(NamedTuple):
    """A call and the model's reply to it."""

    request: Request
    reply: bytes


class Board:
    """A switchboard with room for many sessions, and a clock that only calls move."""

    def __init__(self, most: int) -> None:
        configuration = _roomy(most)
        ids = itertools.count()
        self.switchboard = Switchboard(configuration, lambda kind: f"{kind}_{next(ids):032x}")
        self._keeps_messages = self.switchboard.reader
        tags = [block.tag for block in configuration.clients.injected_blocks]
        self._keeps_none = MessageReader(canonical.injected_pattern(tags), remembered_bytes=0)
        self._calls = itertools.count()

    def hold(self, exchange: Exchange) -> None:
        """Take a call and the reply to it."""
        board = self.switchboard
        now = next(self._calls) * _SECONDS_A_CALL
        turn = board.take(exchange.request, now)
        assert turn is not None
        reply = parse.parse_reply(Dialect.ANTHROPIC, 200, exchange.reply, board.reader)
        board.answer(turn, reply, now, has_failed=False)

    def fill(self, numbers: range) -> None:
        """Hold the first turns of some conversations.

        Without the cache of messages, which is bounded and would be put down to the sessions.
        """
        self.switchboard.reader = self._keeps_none
        for number in numbers:
            for exchange in itertools.islice(exchanges(number), HELD):
                self.hold(exchange)
        self.switchboard.reader = self._keeps_messages

    def timed(self, exchange: Exchange) -> float:
        """The microseconds that a call with its reply takes."""
        began = time.perf_counter()
        self.hold(exchange)
        return (time.perf_counter() - began) * 1e6

    def timed_next(self, number: int) -> float:
        """The microseconds of the next call of a conversation, read up to there a moment ago."""
        *_, newest, coming = exchanges(number)
        parse.parse_call(_PATH, newest.request.body, self.switchboard.reader)
        return self.timed(coming)


def exchanges(number: int) -> Iterator[Exchange]:
    """The turns of a conversation; no other number has the same texts."""
    client = Client("bench", f"connection {number}", "127.0.0.1", "bench")
    for call in conversation(number, SHAPE):
        body = bytes(call.body) + call.end
        request = Request("POST", "https", "llm.example", 443, _PATH, (), body, client)
        yield Exchange(request, json.dumps(canned.message(call.turn)).encode())


def measure(sessions: int) -> Figures:
    """Let a switchboard know so many sessions, and measure; raises ValueError where it does not."""
    other = Board(_WARM_UP)  # kept: what it would give back would be taken for nothing
    other.fill(range(_WARM_UP))
    board = Board(sessions + SAMPLES)
    before = _resident_bytes()
    board.fill(range(sessions))
    session_bytes = (_resident_bytes() - before) / sessions
    _expect(board, sessions)
    continuing = [board.timed_next(number) for number in _spread(sessions)]
    _expect(board, sessions)
    newcomers = range(sessions, sessions + SAMPLES)
    new = [board.timed(next(exchanges(number))) for number in newcomers]
    _expect(board, sessions + SAMPLES)
    return Figures(sessions, *percentiles(continuing), *percentiles(new), session_bytes)


def _expect(board: Board, sessions: int) -> None:
    known = len(board.switchboard.memory)
    if known != sessions:
        raise ValueError(f"{sessions:,} sessions were meant to be known, but it is {known:,}")


def _spread(sessions: int) -> list[int]:
    """Numbers of sessions of every age, no two alike."""
    return [at * sessions // SAMPLES for at in range(min(SAMPLES, sessions))]


def _roomy(most: int) -> Configuration:
    """The shipped configuration, with room for so many sessions."""
    shipped = load()
    session = msgspec.structs.replace(shipped.settings.session, max_sessions=most)
    return msgspec.structs.replace(
        shipped, settings=msgspec.structs.replace(shipped.settings, session=session)
    )


def _resident_bytes() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))._asdict()))
