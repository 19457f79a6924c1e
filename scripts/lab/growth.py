"""What a call costs, and what a session holds, as sessions grow in number: no proxy, no disk.

`python -m lab.growth sessions 1000` lets a switchboard know so many sessions and prints what was
measured as JSON; `... turns 2000` has one session of so many turns, `... full 10000` lets newcomers
drive out others, and `... expiry 10000` lets so many be silent for too long at once. Each number
wants a process of its own: memory given back would spoil the next figure.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from callerid.identity.history import Trails
from callerid.identity.memory import EXPIRED_AT_ONCE
from callerid.identity.switchboard import Switchboard, message_reader
from callerid.settings.load import Configuration, load
from callerid.turn import Client, Dialect, Request
from callerid.wire import parse
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
    """What was measured: microseconds a call with its reply, bytes a session.

    And the milliseconds for which Python looks for garbage in all that came since the start, which
    it does each time that has grown by a quarter.
    """

    sessions: int
    continuing_p50: float
    continuing_p99: float
    new_p50: float
    new_p99: float
    session_bytes: float
    collection: float


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
        self._keeps_none = message_reader(configuration, remembered_bytes=0)
        self._calls = itertools.count()
        self._slept = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass in which nobody calls."""
        self._slept += seconds

    def hold(self, exchange: Exchange) -> None:
        """Take a call and the reply to it."""
        board = self.switchboard
        now = next(self._calls) * _SECONDS_A_CALL + self._slept
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
        """The microseconds of processor time that a call with its reply takes."""
        began = time.thread_time()
        self.hold(exchange)
        return (time.thread_time() - began) * 1e6

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
    gc.freeze()  # as the proxy does when it has started
    board.fill(range(sessions))
    session_bytes = (_resident_bytes() - before) / sessions
    collection = _collection()
    _expect(board, sessions)
    continuing = [board.timed_next(number) for number in _spread(sessions)]
    _expect(board, sessions)
    newcomers = range(sessions, sessions + SAMPLES)
    new = [board.timed(next(exchanges(number))) for number in newcomers]
    _expect(board, sessions + SAMPLES)
    return Figures(sessions, *percentiles(continuing), *percentiles(new), session_bytes, collection)


def _collection() -> float:
    began = time.thread_time()
    gc.collect()
    return (time.thread_time() - began) * 1e3


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


class Long(NamedTuple):
    """What a call with its reply takes, in microseconds, in the first and last tenth of a session.

    And the bytes of memory that the session holds for each message.
    """

    turns: int
    first_p50: float
    last_p50: float
    message_bytes: float


def measure_turns(turns: int) -> Long:
    """Let one session have so many turns, each with its whole history; raises ValueError."""
    board = Board(10)
    client = Client("bench", "connection", "127.0.0.1", "bench")
    shape = Shape("", 2_000 + 200 * turns // 2, turns=turns, growth=200)
    took = []
    before = 0
    for at, call in enumerate(conversation(1, shape)):
        body = bytes(call.body) + call.end
        request = Request("POST", "https", "llm.example", 443, _PATH, (), body, client)
        reply = json.dumps(canned.message(call.turn)).encode()
        if at == min(10, turns // 2):
            before = _weight(board)
        took.append(board.timed(Exchange(request, reply)))
    _expect(board, 1)
    tenth = max(turns // 10, 1)
    held = (_weight(board) - before) / (2 * (turns - min(10, turns // 2)))
    return Long(turns, median(took[:tenth]), median(took[-tenth:]), held)


def _weight(board: Board) -> int:
    """The bytes of what memory holds of sessions, without what it keeps to read bodies sooner."""
    board.switchboard.memory.trails = Trails()
    seen: set[int] = set()
    todo: list[object] = list(board.switchboard.memory.indexes())
    size = 0
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        todo += gc.get_referents(one)
    return size


class Pressed(NamedTuple):
    """What the slowest and the middle call take, in microseconds, while sessions are forgotten."""

    sessions: int
    p50: float
    p99: float
    most: float


def measure_full(sessions: int) -> Pressed:
    """Let newcomers come where as many sessions are known as may be; raises ValueError."""
    board = Board(sessions)
    board.fill(range(sessions))
    took = _newcomers(board, sessions, SAMPLES)
    _expect(board, sessions)
    return Pressed(sessions, *percentiles(took), max(took))


def measure_expiry(sessions: int) -> Pressed:
    """Let newcomers come where all sessions have been silent for too long at once."""
    board = Board(sessions + SAMPLES)
    board.fill(range(sessions))
    board.sleep(board.switchboard.settings.session_ttl_seconds + 1)
    took = _newcomers(board, sessions, max(SAMPLES, sessions // EXPIRED_AT_ONCE + 1))
    if len(board.switchboard.memory) >= sessions:
        raise ValueError("no session was forgotten")
    return Pressed(sessions, *percentiles(took), max(took))


def _newcomers(board: Board, first: int, count: int) -> list[float]:
    made = [next(exchanges(number)) for number in range(first, first + count)]
    gc.collect()
    gc.freeze()  # as the proxy does when it has started
    return [board.timed(exchange) for exchange in made]


_MEASURES: dict[str, Callable[[int], NamedTuple]] = {
    "sessions": measure,
    "turns": measure_turns,
    "full": measure_full,
    "expiry": measure_expiry,
}


if __name__ == "__main__":
    print(json.dumps(_MEASURES[sys.argv[1]](int(sys.argv[2]))._asdict()))
