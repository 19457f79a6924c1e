"""Replies: read beside the stream as they come; at the end remembered, counted and recorded.

Each stage is under the guard. It knows no flows; time comes in as an argument.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import NamedTuple

import msgspec

from callerid.dispatch.budgets import StorageError, Used
from callerid.dispatch.dispatcher import Dispatcher, Placed
from callerid.exports.live import LiveExport
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard, Turn
from callerid.numbers import Numbers
from callerid.sharing.sharing import Sharing
from callerid.stamp.stamper import Edit, returned
from callerid.traces.record import Recorder
from callerid.traces.rows import Entry, State
from callerid.turn import HeaderList, Identity, Reply, Timing, Usage
from callerid.wire import bodies
from callerid.wire.parse import ReplyReader

LATE = "the storage of the budgets did not answer in time; what it was not told is not counted"
LOST = "the storage of the budgets could not be reached; what it was not told is not counted"


class OpenCall:
    """A call whose reply is not over; `edits` are what is written on its request."""

    __slots__ = ("edits", "entry", "headers", "is_remembered", "placed", "reader", "spent",
                 "status", "turn")  # fmt: skip

    def __init__(self, turn: Turn, entry: Entry, edits: list[Edit], placed: Placed) -> None:
        self.turn = turn
        self.entry = entry
        self.edits = edits
        self.placed = placed
        self.reader: ReplyReader | None = None
        self.status = 0
        self.headers: HeaderList = ()  # of the reply
        self.is_remembered = False
        self.spent: float | None = 0.0  # seconds before the first byte; None once it was there


class Ending(NamedTuple):
    """How a reply ended, as seen on the wire; `state` is what a reply without fault comes to."""

    state: State
    status: int | None
    at: float
    first_byte: float | None = None
    size: int | None = None
    error: str = ""


class Replies:
    """What becomes of the calls that went out."""

    def __init__(
        self, switchboard: Switchboard, dispatcher: Dispatcher, recorder: Recorder | None,
        guard: Guard, numbers: Numbers, exporter: LiveExport | None = None,
        sharing: Sharing | None = None,
    ) -> None:  # fmt: skip
        self._switchboard = switchboard
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._guard = guard
        self._numbers = numbers
        self._exporter = exporter
        self._sharing = sharing
        self._under_way: Counter[str] = Counter()

    def has_open(self, session_id: str) -> bool:
        """Whether a session has a call that is not over."""
        return self._under_way[session_id] > 0

    def opened(self, call: OpenCall) -> None:
        """Count a call that is under way."""
        if call.entry.identity is not None:
            self._under_way[call.entry.identity.session_id] += 1

    def begins(self, call: OpenCall, status: int, headers: HeaderList) -> list[Edit]:
        """Make ready to read a reply; the headers that it takes to the client."""
        began = time.perf_counter()
        call.status, call.headers = status, headers
        with self._guard("reply"):
            try:
                most = self._recorder.most_reply_bytes if self._recorder else 0
                call.reader = self._switchboard.reply_reader(call.turn, headers, most)
            except bodies.BadEncoding as error:
                self._guard.note("unreadable_reply", f"a reply could not be read: {error}")
        if call.spent is not None:
            call.spent += time.perf_counter() - began
        with self._guard("reply"):
            return returned(call.turn.identity) if call.turn.identity else []
        return []

    def watch(self, call: OpenCall, chunk: bytes, now: float) -> None:
        """Read the next bytes of a reply; a reply that cannot be read is not read further."""
        began = time.perf_counter()
        self._read_on(call, chunk, now)
        if call.spent is not None:
            self._numbers.added(call.spent + time.perf_counter() - began)
            call.spent = None

    def _read_on(self, call: OpenCall, chunk: bytes, now: float) -> None:
        if call.reader is None:
            return
        reader, call.reader = call.reader, None  # gone, should reading fail in whatever way
        with self._guard("reply"):
            try:
                reader.feed(chunk)
            except (bodies.BadEncoding, ValueError) as error:
                self._guard.note("unreadable_reply", f"a reply could not be read: {error}")
                return
            call.reader = reader
            if reader.is_complete and not call.is_remembered:
                # The client has its reply now; its next call may be here before the stream ends.
                self._remember(call, reader.reply(call.status), State.OK, now)

    def end(self, call: OpenCall, ending: Ending) -> Entry:
        """Finish a call: read what came of its reply, remember it, record it; as it is then."""
        self._closed(call)
        reply: Reply | None = None
        reader = call.reader
        with self._guard("reply"):
            if reader is not None and ending.status is not None:
                reply = reader.finish(ending.status)
                if reader.broken_events:
                    self._guard.note("broken_events", "a stream held events that are no JSON")
        state = _state(ending, reply)
        with self._guard("numbers"):
            self._numbers.ended(state, reply.usage if reply else Usage())
        if not call.is_remembered:
            self._remember(call, reply, state, ending.at)
        if state is not State.BLOCKED:
            self._give_back(call, ending)
            self._spend(call, reply)
        entry = msgspec.structs.replace(
            call.entry,
            timing=Timing(call.entry.timing.started, ending.first_byte, ending.at),
            state=state,
            status=ending.status,
            reply=reply,
            reply_bytes=ending.size,
            error="" if state is State.OK else ending.error,
            reply_body=tuple(reader.body) if reader and reader.body is not None else None,
            kept_bytes=reader.size if reader and reader.body else 0,
            reply_headers=call.headers,
        )
        self.record(entry)
        if self._exporter is not None:
            with self._guard("export"):
                self._exporter.put(entry, begins_session=not call.turn.is_known)
        return entry

    def _closed(self, call: OpenCall) -> None:
        if call.entry.identity is not None:
            id = call.entry.identity.session_id
            self._under_way[id] -= 1
            if self._under_way[id] <= 0:  # below: it was opened under other settings
                del self._under_way[id]

    def _give_back(self, call: OpenCall, ending: Ending) -> None:
        with self._guard("route"):
            is_lost = ending.state is State.UNREACHABLE and ending.status is None
            news = self._dispatcher.ended(call.placed, ending.at, ending.status, is_lost=is_lost)
            if news:
                self._guard.tell(news)
        if self._sharing is not None and call.placed.target is not None:
            with self._guard("sharing"):
                self._sharing.placed(call.turn)

    def _spend(self, call: OpenCall, reply: Reply | None) -> None:
        entry, identity, beside = call.entry, call.entry.identity, self._dispatcher.beside
        with self._guard("budget"):
            used = self._dispatcher.used(
                entry.provider, entry.request, entry.call, reply, entry.timing.started
            )
            if identity is None or used is None:
                return
            counting = partial(self._count, identity, entry.request.client.scope, used)
            if beside is None:
                counting()
            elif not beside.put(counting):
                self._guard.note("budget_late", LATE)

    def _count(self, identity: Identity, scope: str, used: Used) -> None:
        with self._guard("budget"):
            try:
                self._dispatcher.spend(identity, scope, used)
            except StorageError:
                self._guard.note("budget_lost", LOST)

    def _remember(self, call: OpenCall, reply: Reply | None, state: State, now: float) -> None:
        call.is_remembered = True
        turn = call.turn if self._sharing is None else self._sharing.as_known(call.turn)
        with self._guard("remember"):
            has_failed = state is not State.OK or bool(reply and reply.error)
            self._switchboard.answer(turn, reply, now, has_failed=has_failed)
        if self._sharing is not None:
            with self._guard("sharing"):
                self._sharing.told(turn)

    def record(self, entry: Entry) -> None:
        """Hand a call to the writer as it stands."""
        with self._guard("record"):
            if self._recorder is not None and not self._recorder.put(entry):
                words = "the writer's queue is full: a record was dropped"
                self._guard.lost(words, 1, int(entry.has_ended))


def _state(ending: Ending, reply: Reply | None) -> State:
    """What a call came to. A client that leaves after a whole reply has not broken it off."""
    is_whole = reply is not None and reply.complete and not reply.error
    if ending.state is State.ABORTED and is_whole and reply is not None and reply.messages:
        return State.OK
    if ending.state is not State.OK:
        return ending.state
    if (ending.status or 0) >= 400 or (reply is not None and reply.error):
        return State.ERROR
    return State.OK if reply is None or is_whole else State.TRUNCATED
