"""The calls of one WebSocket, from frame to frame; what is not refused passes untouched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from callerid.guard import Guard
from callerid.proxy.desk import Desk, Taken
from callerid.proxy.replies import Ending, OpenCall
from callerid.traces.rows import State
from callerid.turn import HeaderList, Request
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
    """A WebSocket whose frames may hold calls.

    `handshake` is the request that opened it, `back` are the headers of what answered that.
    """

    def __init__(self, handshake: Request, back: HeaderList, desk: Desk, guard: Guard) -> None:
        self.desk = desk
        self._handshake = handshake
        self._back = back
        self._guard = guard
        self._frames = Frames(handshake.path)
        # Replies come in the order of their calls; that to a refused call is a frame of ours.
        self._open: deque[_Reply | bytes] = deque()

    def begun_by(self, frame: bytes) -> Request | None:
        """What a frame of the client asks, if it begins a call."""
        try:
            body = self._frames.begun_by(frame)
        except wirejson.NotJSON as error:
            self._guard.note("unreadable_frame", f"a frame could not be read: {error}")
            return None
        if not body:
            return None
        return msgspec.structs.replace(self._handshake, method="WEBSOCKET", body=body)

    def send(self, taken: Taken, now: float) -> bool:
        """Open a call; False where it is refused: then its frame must not go on."""
        begun = self.desk.send(taken, now, stamps=False)
        if begun.refusal is not None:
            self._frames.withdraw()
            self._open.append(begun.refusal.body)
            return False
        if begun.call is not None:
            self.desk.replies.begins(begun.call, SWITCHED, _FRAMES)
            begun.call.headers = self._back  # to be written down
            self._open.append(_Reply(begun.call))
        return True

    def received(self, frame: bytes, now: float) -> None:
        """Take a frame of the provider: a piece of the oldest reply that is under way."""
        reply = self._open[0] if self._open else None
        if not isinstance(reply, _Reply):
            return
        reply.first_byte = reply.first_byte or now
        reply.size += len(frame)
        self.desk.replies.watch(reply.call, frames.as_event(frame), now)
        try:
            is_over = self._frames.ended_by(frame)
        except wirejson.NotJSON:
            return
        if is_over:
            self._open.popleft()
            self._end(reply, State.OK, now, "")

    def refusals(self) -> Iterator[bytes]:
        """The frames that are due: those to refused calls before which all have been answered.

        While a reply comes none is: mitmproxy would put it in the middle of a frame of which only
        a part is there.
        """
        while self._open and isinstance(self._open[0], bytes):
            frame = self._open.popleft()
            assert isinstance(frame, bytes)
            yield frame

    def closed(self, state: State, now: float, words: str) -> None:
        """End the calls that got no whole reply before the socket closed."""
        while self._open:
            reply = self._open.popleft()
            if isinstance(reply, _Reply):
                self._end(reply, state, now, words)

    def _end(self, reply: _Reply, state: State, now: float, words: str) -> None:
        ending = Ending(state, SWITCHED, now, reply.first_byte, reply.size, words)
        self.desk.replies.end(reply.call, ending)
