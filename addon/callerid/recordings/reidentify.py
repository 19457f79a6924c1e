"""Runs recorded calls through the same identification as the live proxy, replaying their time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from callerid.identity.explain import Rung, ladder
from callerid.identity.match import Match
from callerid.identity.question import Question
from callerid.identity.switchboard import Switchboard, Turn
from callerid.recordings.recorded import RecordedCall
from callerid.settings.load import Configuration
from callerid.traces.restore import reply_of
from callerid.turn import Because, Call, Dialect, Identity, Kind, Reply
from callerid.wire import dialects, parse, wirejson


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
    """Identify recorded calls, in the order of their time; with the ladder of each, if asked.

    A reply is known only once its time has come: of two calls under way at once, neither knows
    the other's reply.
    """
    ordered = sorted(calls, key=lambda call: call.t)
    return in_order(ordered, configuration, lambda call: explains)


def in_order(
    calls: Iterable[RecordedCall], configuration: Configuration,
    explains: Callable[[RecordedCall], bool],
) -> Iterator[Identified]:  # fmt: skip
    """As `reidentify`, of calls that come in the order of their time; none of them is kept."""
    board = Switchboard(configuration, steady_ids())
    rungs: list[Rung] = []
    note = partial(_note, rungs)

    def known(call: RecordedCall) -> Identity | None:
        board.on_match = note if explains(call) else None
        return corrected(call)

    for event in replay(calls, board, known):
        if isinstance(event, Taken):
            yield Identified(event.call, event.turn.identity if event.turn else None, list(rungs))
            rungs.clear()


def _note(rungs: list[Rung], question: Question, match: Match) -> None:
    rungs[:] = ladder(question, match)


def corrected(call: RecordedCall) -> Identity | None:
    """Whose a call is, where a person has said so: that stays."""
    found = call.record.identity if call.record else None
    return found if found and found.because is Because.CORRECTION else None


class Taken(NamedTuple):
    """A recorded call that was asked; `turn` is None where it is no LLM call."""

    call: RecordedCall
    turn: Turn | None


class Answered(NamedTuple):
    """A recorded call whose reply is known (None: it never came, or could not be read)."""

    call: RecordedCall
    turn: Turn
    reply: Reply | None
    has_failed: bool


def replay(
    calls: Iterable[RecordedCall],
    board: Switchboard,
    known: Callable[[RecordedCall], Identity | None],
) -> Iterator[Taken | Answered]:
    """Take calls, which come in the order of their time, and their replies when theirs has come.

    Of two calls under way at once, neither knows the other's reply. `known` says of a call whose
    it is, where that is to stay as it is.
    """
    waiting: list[tuple[float, int, RecordedCall, Turn]] = []
    for serial, call in enumerate(calls):
        while waiting and waiting[0][0] <= call.t:
            _, _, answered, turn = heapq.heappop(waiting)
            yield _answer(board, answered, turn)
        turn_now = _take(board, call, known(call))
        yield Taken(call, turn_now)
        if turn_now is not None:
            heapq.heappush(waiting, (call.t_response, serial, call, turn_now))
    while waiting:
        _, _, answered, turn = heapq.heappop(waiting)
        yield _answer(board, answered, turn)


def _take(board: Switchboard, call: RecordedCall, identity: Identity | None) -> Turn | None:
    if not parse.may_be_call(call.request.method, call.request.path):
        return None
    try:
        read = board.read(call.request)
    except wirejson.NotJSON:
        read = _wordless(call) if identity is not None else None
    if read is None:
        return None
    if identity is None:
        return board.identify(call.request, read, call.t)
    return board.restore(call.request, read, identity, call.t, None)


def _wordless(call: RecordedCall) -> Call | None:
    """A call of which no word was kept, as an export of ours tells it; None for any other."""
    told = call.told
    if told is None or call.request.body:
        return None
    return Call(
        Dialect(told.dialect), told.request_model or "", told.is_stream, "", (), (),
        Kind(told.kind), told.previous_response_id or "",
    )  # fmt: skip


def _answer(board: Switchboard, call: RecordedCall, turn: Turn) -> Answered:
    reply, has_failed = _reply(board, call, turn)
    board.answer(turn, reply, call.t_response, has_failed=has_failed)
    return Answered(call, turn, reply, has_failed)


def _reply(board: Switchboard, call: RecordedCall, turn: Turn) -> tuple[Reply | None, bool]:
    """What came back, and whether that is no answer."""
    if call.record is not None:
        return reply_of(call.record, turn.call.dialect, board.reader), call.record.has_failed
    if call.reply is None and not call.replies:
        return None, True
    if call.reply is None:
        read_parts = dialects.reader_of(turn.call.dialect).read_parts
        dialect = turn.call.dialect
        return Reply(messages=board.reader.read(dialect, call.replies, read_parts)), False
    reader = board.reply_reader(turn, ())
    try:
        reader.feed(call.reply)
        reply = reader.finish(call.status)
    except ValueError:  # an event without an end
        return None, True
    return reply, bool(reply.error) or call.status >= 400 or not reply.complete


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
