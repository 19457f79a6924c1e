"""Runs recorded calls through the same identification as the live proxy, replaying their time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from callerid.identity.explain import Rung, ladder
from callerid.identity.match import Match
from callerid.identity.question import Question
from callerid.identity.switchboard import Switchboard, Turn
from callerid.recordings.calls import RecordedCall
from callerid.settings.load import Configuration
from callerid.traces.restore import reply_of
from callerid.turn import Because, Identity
from callerid.wire import parse, wirejson


class Identified(NamedTuple):
    """A recorded call with its identity (None: no LLM call), and the ladder if that was asked."""

    call: RecordedCall
    identity: Identity | None
    ladder: list[Rung]


def steady_ids() -> Callable[[str], str]:
    """Ids that are the same in every run: the same input has the same ids."""
    serial = itertools.count(1)
    return lambda prefix: f"{prefix}_{sha256(str(next(serial)).encode()).hexdigest()[:24]}"


def reidentify(
    calls: Iterable[RecordedCall], configuration: Configuration, *, explains: bool = False
) -> Iterator[Identified]:
    """Identify recorded calls, in the order of their time.

    A reply is known only once its time has come: of two calls under way at once, neither knows
    the other's reply.
    """
    board = Switchboard(configuration, steady_ids())
    rungs: list[Rung] = []
    if explains:
        board.on_match = lambda question, match: _note(rungs, question, match)
    waiting: list[tuple[float, int, RecordedCall, Turn]] = []
    for serial, call in enumerate(sorted(calls, key=lambda call: call.t)):
        while waiting and waiting[0][0] <= call.t:
            _, _, answered, turn = heapq.heappop(waiting)
            _answer(board, answered, turn)
        rungs.clear()
        turn_now = _take(board, call)
        yield Identified(call, turn_now.identity if turn_now else None, list(rungs))
        if turn_now is not None:
            heapq.heappush(waiting, (call.t_response, serial, call, turn_now))


def _note(rungs: list[Rung], question: Question, match: Match) -> None:
    rungs[:] = ladder(question, match)


def _take(board: Switchboard, call: RecordedCall) -> Turn | None:
    if not parse.may_be_call(call.request.method, call.request.path):
        return None
    try:
        read = board.read(call.request)
    except wirejson.NotJSON:
        return None
    if read is None:
        return None
    if call.record is not None and call.record.identity.because is Because.CORRECTION:
        return board.restore(call.request, read, call.record.identity, call.t, None)
    return board.identify(call.request, read, call.t)


def _answer(board: Switchboard, call: RecordedCall, turn: Turn) -> None:
    if call.record is not None:
        reply = reply_of(call.record, turn.call.dialect, board.reader)
        board.answer(turn, reply, call.t_response, has_failed=call.record.has_failed)
        return
    if call.reply is None:
        board.answer(turn, None, call.t_response, has_failed=True)
        return
    reader = board.reply_reader(turn, ())
    reader.feed(call.reply)
    reply = reader.finish(call.status)
    has_failed = bool(reply.error) or call.status >= 400 or not reply.complete
    board.answer(turn, reply, call.t_response, has_failed=has_failed)


class Change(NamedTuple):
    """A call that would be put elsewhere: by the old identification, and by the new."""

    id: str
    old: str
    new: str


def changes(old: dict[str, str], new: dict[str, str]) -> list[Change]:
    """The calls whose session is another than before: not by its name, but by its company.

    `old` and `new` are sessions by call. Each new session is named after the old one with which
    it shares most calls, if that one is not taken.
    """
    shared = Counter((old[id], new[id]) for id in new if id in old)
    names: dict[str, str] = {}
    for (before, after), _ in shared.most_common():
        if after not in names and before not in names.values():
            names[after] = before
    return [
        Change(id, old[id], new[id]) for id in new if id in old and names.get(new[id]) != old[id]
    ]
