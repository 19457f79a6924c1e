"""The calls of one WebSocket, from frame to frame; the frames pass untouched and at once."""

from __future__ import annotations

from collections import deque

import msgspec

from callerid.guard import Guard
from callerid.proxy.desk import Desk
from callerid.proxy.replies import Ending, OpenCall
from callerid.traces.rows import State
from callerid.turn import Identity, Request
from callerid.wire import frames, wirejson
from callerid.wire.frames import Frames

SWITCHED = 101  # the status of the handshake, which is all the HTTP there is
_FRAMES = (("content-type", "text/event-stream"),)  # how we hand frames on


class _Reply:
    """The reply to one call as it comes."""

    __slots__ = ("call", "first_byte", "size")

    def __init__(self, call: OpenCall) -> None:
        self.call = call
        self.first_byte: float | None = None
        self.size = 0


class Socket:
    """A WebSocket whose frames may hold calls; `handshake` is the request that opened it."""

    def __init__(self, handshake: Request, desk: Desk, guard: Guard) -> None:
        self._handshake = handshake
        self._desk = desk
        self._guard = guard
        self._frames = Frames(handshake.path)
        self._open: deque[_Reply] = deque()  # replies come in the order of their calls

    def sent(self, frame: bytes, now: float) -> Identity | None:
        """Take a frame of the client; the identity of the call that it begins."""
        try:
            body = self._frames.begun_by(frame)
        except wirejson.NotJSON as error:
            self._guard.note("unreadable_frame", f"a frame could not be read: {error}")
            return None
        if not body:
            return None
        request = msgspec.structs.replace(self._handshake, method="WEBSOCKET", body=body)
        taken = self._desk.take(request, "", now)
        call = self._desk.send(taken, now, stamps=False).call if taken else None
        if call is None:
            return None
        self._desk.replies.begins(call, SWITCHED, _FRAMES)
        self._open.append(_Reply(call))
        return call.turn.identity

    def received(self, frame: bytes, now: float) -> None:
        """Take a frame of the provider: a piece of the oldest reply that is under way."""
        if not self._open:
            return
        reply = self._open[0]
        reply.first_byte = reply.first_byte or now
        reply.size += len(frame)
        self._desk.replies.watch(reply.call, frames.as_event(frame), now)
        try:
            is_over = self._frames.ended_by(frame)
        except wirejson.NotJSON:
            return
        if is_over:
            self._end(self._open.popleft(), State.OK, now, "")

    def closed(self, state: State, now: float, words: str) -> None:
        """End the calls that got no whole reply before the socket closed."""
        while self._open:
            self._end(self._open.popleft(), state, now, words)

    def _end(self, reply: _Reply, state: State, now: float, words: str) -> None:
        ending = Ending(state, SWITCHED, now, reply.first_byte, reply.size, words)
        self._desk.replies.end(reply.call, ending)
