"""The desk: takes a call in, decides where it goes, and what is written on it.

Parse, identify, place, stamp: each stage under the guard, so that what fails costs its own result
and nothing else. It knows no flows; time comes in as an argument.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import msgspec

from callerid.dispatch.budgets import StorageError
from callerid.dispatch.dispatcher import Dispatcher, Placed
from callerid.dispatch.verdict import Refusal, Target
from callerid.exports.live import LiveExport
from callerid.guard import Guard
from callerid.identity.candidates import Candidates
from callerid.identity.switchboard import NewId, Switchboard, Turn
from callerid.numbers import Numbers
from callerid.proxy.replies import LATE, LOST, Ending, OpenCall, Replies
from callerid.sharing.sharing import Sharing
from callerid.stamp.stamper import Edit, Stamper, with_members
from callerid.traces.record import Recorder
from callerid.traces.rows import Entry, State
from callerid.turn import Because, Call, Identity, Kind, Request, Timing
from callerid.wire import bodies, errors, wirejson
from callerid.wire.errors import Said


class Taken(NamedTuple):
    """A call that was read and identified; `spent` are the seconds that this took."""

    turn: Turn
    spent: float = 0.0
    excess: Refusal | None = None  # the budget that it is beyond


class Begun(NamedTuple):
    """What a request comes to: header edits, and the call, where it is one that could be read.

    `body` is a new body for it, where its upstream wants a member in it. `target` is where it goes
    instead; `refusal` is what its client is answered instead.
    """

    edits: list[Edit]
    call: OpenCall | None = None
    body: bytes | None = None
    target: Target | None = None
    refusal: Said | None = None


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
        dispatcher: Dispatcher,
        exporter: LiveExport | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.switchboard = switchboard
        self.sharing = sharing
        self.guard = guard
        self._stamper = stamper
        self._new_id = new_id
        self._candidates = candidates
        self._numbers = numbers
        self.dispatcher = dispatcher
        self.replies = Replies(switchboard, dispatcher, recorder, guard, numbers, exporter, sharing)

    def take(self, request: Request, encoding: str, now: float) -> Taken | None:
        """Read and identify a request that may be a call, its body packed as `encoding` says."""
        began = time.perf_counter()
        with self.guard("request"):
            if (read := self._read(request, encoding)) is None:
                return None
            with self._numbers.timed("identify"):
                turn = self.switchboard.identify(*read, now)
            return Taken(turn, time.perf_counter() - began)
        return None

    async def take_in_time(self, request: Request, encoding: str, now: float) -> Taken | None:
        """As `take`, where other proxies may know more of the call; for a moment it waits."""
        began = time.perf_counter()
        with self.guard("request"):
            if (read := self._read(request, encoding)) is None:
                return None
            turn: Turn | None = None
            with self.guard("sharing"), self._numbers.timed("identify"):
                if self.sharing is not None:
                    turn = await self.sharing.identify(*read, now)
            turn = turn or self.switchboard.identify(*read, now)
            return Taken(turn, time.perf_counter() - began)
        return None

    def afford(self, taken: Taken, now: float) -> Taken:
        """See whether a call is beyond a budget; what cannot be asked passes."""
        identity, scope = taken.turn.identity, taken.turn.request.client.scope
        with self.guard("budget"):
            try:
                if identity is not None:
                    return taken._replace(excess=self.dispatcher.afford(identity, scope, now))
            except StorageError:
                self.guard.note("budget_lost", LOST)
        return taken

    async def afford_in_time(self, taken: Taken, now: float) -> Taken:
        """As `afford`, where that may have to wait; it passes when the time is up."""
        if self.dispatcher.beside is None:
            return self.afford(taken, now)
        asked = self.dispatcher.beside.ask(lambda: self.afford(taken, now))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), self.dispatcher.deadline)
        except TimeoutError:
            self.guard.note("budget_late", LATE)
            return taken

    def send(self, taken: Taken, now: float, *, stamps: bool = True, routes: bool = False) -> Begun:
        """Decide where a call goes and what is written on it, and open it.

        Without `stamps` nothing can be written on it: the calls of a WebSocket have no headers.
        Without `routes` its client decides where it goes.
        """
        began = time.perf_counter()
        turn, placed = taken.turn, self._place(taken, now, routes=routes)
        if isinstance(placed, Refusal):
            return self._refuse(turn, placed, now, in_frame=not stamps)
        if placed.target is not None:
            turn = msgspec.structs.replace(turn, request=_sent_to(placed.target, turn.request))
        edits = self.strips(turn.request) if stamps else []
        with self.guard("request"):
            begun = self._open(turn, edits, placed, now, stamps=stamps)
            if self.sharing is not None and placed.target is not None:
                with self.guard("sharing"):
                    self.sharing.placed(turn)
            if begun.call is not None:
                begun.call.spent = taken.spent + time.perf_counter() - began
            return begun
        self.dispatcher.ended(placed, now, None, is_lost=False)
        return Begun(edits, target=placed.target)

    def _place(self, taken: Taken, now: float, *, routes: bool) -> Placed | Refusal:
        """Where a call goes, or why it does not; one that is only warned of goes."""
        identity, excess = taken.turn.identity, taken.excess
        if excess is not None:
            if self.dispatcher.blocks:
                return excess
            self.guard.note("over_budget", excess.message)
        with self.guard("route"):
            if identity is not None and routes:
                return self.dispatcher.place(identity, taken.turn.request, now)
        return Placed()

    def _refuse(self, turn: Turn, refusal: Refusal, now: float, *, in_frame: bool) -> Begun:
        """Answer a call in its provider's stead; it is on record, and is remembered as failed."""
        what = refusal.trouble, refusal.message, refusal.retry_after
        if in_frame:
            said = errors.frame(*what, self._new_id("event"))
        else:
            said = errors.said(turn.call.dialect, turn.request.path, *what)
        call = self._open(turn, [], Placed(), now, stamps=False).call
        if call is not None:
            self.replies.end(
                call, Ending(State.BLOCKED, said.status, now, None, 0, refusal.message)
            )
        return Begun([], refusal=said)

    def strips(self, request: Request) -> list[Edit]:
        """The headers to take away from a request, whatever it holds."""
        with self.guard("strip"):
            return self._stamper.strips(request)
        return []

    def _read(self, request: Request, encoding: str) -> tuple[Request, Call] | None:
        """A request as it was said, unpacked, and the call that it makes."""
        try:
            with self._numbers.timed("parse"):
                body = bodies.unpack(encoding, request.body) if encoding else request.body
                request = msgspec.structs.replace(request, body=body)
                call = self.switchboard.read(request)
            return None if call is None else (request, call)
        except (bodies.BadEncoding, wirejson.NotJSON) as error:
            self.guard.note("unreadable_request", f"a call's body could not be read: {error}")
            return None

    def _open(
        self, turn: Turn, edits: list[Edit], placed: Placed, now: float, *, stamps: bool
    ) -> Begun:
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
        # What waits for its reply needs the body no more; only what waits to be written does.
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
            upstream=placed.target.url if placed.target else "",
        )
        self.replies.record(msgspec.structs.replace(entry, body=request.body))
        call = OpenCall(turn, entry, edits, placed)
        self.replies.opened(call)
        return Begun(edits, call, body, placed.target)

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


def _sent_to(target: Target, request: Request) -> Request:
    return msgspec.structs.replace(
        request, scheme=target.scheme, host=target.host, port=target.port, authority=target.host
    )
