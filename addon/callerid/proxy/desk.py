"""The desk: takes a call from its request to the end of its reply.

Parse, identify, stamp, watch the reply, remember, record: each stage under the guard, so that
what fails costs its own result and nothing else. It knows no flows; time comes in as an argument.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from callerid.guard import Guard
from callerid.identity.candidates import Candidates
from callerid.identity.switchboard import NewId, Switchboard, Turn
from callerid.numbers import Numbers
from callerid.stamp.stamper import Edit, Stamper, returned, with_members
from callerid.traces.record import Recorder
from callerid.traces.rows import Entry, State
from callerid.turn import Because, HeaderList, Identity, Kind, Reply, Request, Timing, Usage
from callerid.wire import bodies, wirejson
from callerid.wire.parse import ReplyReader


class OpenCall:
    """A call whose reply is not over; `edits` are what is written on its request."""

    __slots__ = ("edits", "entry", "is_remembered", "reader", "spent", "status", "turn")

    def __init__(self, turn: Turn, entry: Entry, edits: list[Edit]) -> None:
        self.turn = turn
        self.entry = entry
        self.edits = edits
        self.reader: ReplyReader | None = None
        self.status = 0
        self.is_remembered = False
        self.spent: float | None = 0.0  # seconds before the first byte; None once it was there


class Begun(NamedTuple):
    """What a request comes to: header edits, and the call, where it is one that could be read.

    `body` is a new body for it, where its upstream wants a member in it.
    """

    edits: list[Edit]
    call: OpenCall | None
    body: bytes | None = None


class Ending(NamedTuple):
    """How a reply ended, as seen on the wire; `state` is what a reply without fault comes to."""

    state: State
    status: int | None
    at: float
    first_byte: float | None = None
    size: int | None = None
    error: str = ""


class Desk:
    """All stages together, and what they need."""

    def __init__(
        self,
        switchboard: Switchboard,
        stamper: Stamper,
        recorder: Recorder | None,
        guard: Guard,
        new_id: NewId,
        candidates: Candidates,
        numbers: Numbers,
    ) -> None:
        self.switchboard = switchboard
        self.guard = guard
        self._stamper = stamper
        self._recorder = recorder
        self._new_id = new_id
        self._candidates = candidates
        self._numbers = numbers

    def begin(self, request: Request, encoding: str, now: float, *, stamps: bool = True) -> Begun:
        """Take a request that may be a call; its body still packed as `encoding` says.

        Without `stamps` nothing can be written on it: the calls of a WebSocket have no headers.
        """
        began = time.perf_counter()
        edits = self.strips(request) if stamps else []
        with self.guard("request"):
            turn = self._read(request, encoding, now)
            if turn is not None:
                begun = self._open(turn, edits, now, stamps=stamps)
                if begun.call is not None:
                    begun.call.spent = time.perf_counter() - began
                return begun
        return Begun(edits, None)

    def strips(self, request: Request) -> list[Edit]:
        """The headers to take away from a request, whatever it holds."""
        with self.guard("strip"):
            return self._stamper.strips(request)
        return []

    def _read(self, request: Request, encoding: str, now: float) -> Turn | None:
        try:
            with self._numbers.timed("parse"):
                body = bodies.unpack(encoding, request.body) if encoding else request.body
                request = msgspec.structs.replace(request, body=body)
                call = self.switchboard.read(request)
            if call is None:
                return None
            with self._numbers.timed("identify"):
                return self.switchboard.identify(request, call, now)
        except (bodies.BadEncoding, wirejson.NotJSON) as error:
            self.guard.note("unreadable_request", f"a call's body could not be read: {error}")
            return None

    def _open(self, turn: Turn, edits: list[Edit], now: float, *, stamps: bool) -> Begun:
        request, identity = turn.request, turn.identity
        call_id = self._new_id("call")
        members: list[Edit] = []
        if identity is not None:
            self._numbers.identified(identity, is_known=turn.is_known)
            if stamps:
                with self.guard("stamp"), self._numbers.timed("stamp"):
                    edits += self._stamper.sets(identity, request, call_id)
                    members = self._stamper.members(identity, request)
            with self.guard("candidates"):
                self._watch_headers(request, identity)
        body = with_members(request.body, members) if members else None
        # What waits for its reply, or to be written, needs the body no more: it has been read.
        turn = msgspec.structs.replace(turn, request=msgspec.structs.replace(request, body=b""))
        entry = Entry(
            id=call_id,
            request=turn.request,
            call=turn.call,
            identity=identity,
            provider=self._stamper.upstreams.of(request).provider,
            edits=(*edits, *(Edit(f"body:{name}", value) for name, value in members)),
            timing=Timing(started=now),
            request_bytes=len(request.body),
        )
        self._record(entry)
        return Begun(edits, OpenCall(turn, entry, edits), body)

    def _watch_headers(self, request: Request, identity: Identity) -> None:
        """Name the headers that would have told the session which had to be found by history."""
        is_declared = identity.because in (Because.HEADER, Because.BODY)
        if is_declared or identity.kind is not Kind.MAIN:
            return
        client = identity.client_name or request.client.user_agent.partition("/")[0]
        for header in self._candidates.look(client, request.headers, identity.root_session_id):
            self.guard.tell(
                f"{client or 'a client'} sends {header}, which is the same within runs and another "
                "in each; if it names them, give config/clients.yaml a row for it"
            )

    def reply_begins(self, call: OpenCall, status: int, headers: HeaderList) -> list[Edit]:
        """Make ready to read a reply; the headers that it takes to the client."""
        began = time.perf_counter()
        call.status = status
        with self.guard("reply"):
            try:
                call.reader = self.switchboard.reply_reader(call.turn, headers)
            except bodies.BadEncoding as error:
                self.guard.note("unreadable_reply", f"a reply could not be read: {error}")
        if call.spent is not None:
            call.spent += time.perf_counter() - began
        return returned(call.turn.identity) if call.turn.identity else []

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
        with self.guard("reply"):
            try:
                reader.feed(chunk)
            except (bodies.BadEncoding, ValueError) as error:
                self.guard.note("unreadable_reply", f"a reply could not be read: {error}")
                return
            call.reader = reader
            if reader.is_complete and not call.is_remembered:
                # The client has its reply now; its next call may be here before the stream ends.
                self._remember(call, reader.reply(call.status), State.OK, now)

    def end(self, call: OpenCall, ending: Ending) -> None:
        """Finish a call: read what came of its reply, remember it, record it."""
        reply: Reply | None = None
        with self.guard("reply"):
            if call.reader is not None and ending.status is not None:
                reply = call.reader.finish(ending.status)
                if call.reader.broken_events:
                    self.guard.note("broken_events", "a stream held events that are no JSON")
        state = _state(ending, reply)
        self._numbers.ended(state, reply.usage if reply else Usage())
        if not call.is_remembered:
            self._remember(call, reply, state, ending.at)
        self._record(
            msgspec.structs.replace(
                call.entry,
                timing=Timing(call.entry.timing.started, ending.first_byte, ending.at),
                state=state,
                status=ending.status,
                reply=reply,
                reply_bytes=ending.size,
                error="" if state is State.OK else ending.error,
            )
        )

    def _remember(self, call: OpenCall, reply: Reply | None, state: State, now: float) -> None:
        call.is_remembered = True
        with self.guard("remember"):
            has_failed = state is not State.OK or bool(reply and reply.error)
            self.switchboard.answer(call.turn, reply, now, has_failed=has_failed)

    def _record(self, entry: Entry) -> None:
        with self.guard("record"):
            if self._recorder is not None and not self._recorder.put(entry):
                self.guard.note("dropped", "the writer's queue is full: a record was dropped")


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
