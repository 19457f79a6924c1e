"""mitmproxy's WebSockets: those that may hold calls, and how many of their frames are kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping

from mitmproxy import ctx, http
from mitmproxy.websocket import WebSocketData, WebSocketMessage

from callerid.guard import Guard
from callerid.proxy import flows, shown
from callerid.proxy.desk import Taken
from callerid.proxy.setup import Setup
from callerid.proxy.websocket import Socket
from callerid.traces.rows import State
from callerid.turn import Request


class Sockets:
    """The WebSockets that are open, and the bytes of frames that mitmproxy holds of each.

    mitmproxy keeps every frame for as long as a socket is open, which for some clients is for
    hours. Where they are not saved to a file, only the newest are left to it.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._open: dict[str, Socket] = {}
        self._kept: dict[str, int] = {}
        self._names: Mapping[str, str] = {}

    def start(self, flow: http.HTTPFlow, handshake: Request, setup: Setup) -> None:
        """Look at the frames of a WebSocket that may hold calls."""
        back = flows.headers_of(flow.response.headers) if flow.response is not None else ()
        self._open[flow.id] = Socket(handshake, back, setup.desk, self._guard)
        self._names = setup.names
        self._kept[flow.id] = 0

    def message(self, flow: http.HTTPFlow, viewable_bytes: int) -> Awaitable[None] | None:
        """A frame passes, untouched; if it begins a call that is refused, it does not.

        Where others have to be asked, the frames of this socket wait meanwhile.
        """
        socket = self._open.get(flow.id)
        if socket is None or flow.websocket is None:
            return None
        message, now = flow.websocket.messages[-1], time.time()
        self._kept[flow.id] += len(message.content)
        if self._kept[flow.id] > viewable_bytes:
            self._kept[flow.id] = _let_go(flow.websocket)
        if message.is_text and message.from_client:
            asked, desk = socket.begun_by(message.content), socket.desk
            if asked is None:
                return None
            if desk.sharing is not None or desk.dispatcher.beside is not None:
                return self._take_and_send(flow, socket, message, asked)
            if (taken := desk.take(asked, "", now)) is not None:
                self._send(flow, socket, message, desk.afford(taken, now))
        elif message.is_text and not message.injected:
            socket.received(message.content, now)
            _answer(flow, socket)
        return None

    async def _take_and_send(
        self, flow: http.HTTPFlow, socket: Socket, message: WebSocketMessage, asked: Request
    ) -> None:
        with self._guard("websocket"):
            if (taken := await socket.desk.take_in_time(asked, "", time.time())) is not None:
                taken = await socket.desk.afford_in_time(taken, time.time())
                self._send(flow, socket, message, taken)

    def _send(
        self, flow: http.HTTPFlow, socket: Socket, message: WebSocketMessage, taken: Taken
    ) -> None:
        if not socket.send(taken, time.time()):
            message.drop()  # type: ignore[no-untyped-call]
            _answer(flow, socket)
        shown.describe(flow, taken.turn.identity, self._names)

    def end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket closed; what was not answered by then is not answered."""
        socket = self._open.pop(flow.id, None)
        self._kept.pop(flow.id, None)
        if socket is not None and flow.websocket is not None:
            by_client = flow.websocket.closed_by_client
            state = State.ABORTED if by_client else State.UNREACHABLE
            words = f"the WebSocket was closed ({flow.websocket.close_code})"
            socket.closed(state, time.time(), words)

    def done(self, words: str) -> None:
        """The proxy stops, and every socket with it."""
        for socket in self._open.values():
            socket.closed(State.INTERRUPTED, time.time(), words)
        self._open.clear()
        self._kept.clear()


def _answer(flow: http.HTTPFlow, socket: Socket) -> None:
    """Tell the client of its calls that were refused, as soon as it is their turn."""
    for frame in socket.refusals():
        ctx.master.commands.call("inject.websocket", flow, True, frame, True)


def _let_go(websocket: WebSocketData) -> int:
    """Forget the older half of the frames of a socket; how many bytes there are to count from."""
    if getattr(ctx.options, "save_stream_file", None):
        return 0
    del websocket.messages[: len(websocket.messages) // 2]
    return sum(len(message.content) for message in websocket.messages)
