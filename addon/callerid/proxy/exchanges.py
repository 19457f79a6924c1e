"""mitmproxy's HTTP flows that are calls: from the request to the end of the reply."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable

from mitmproxy import ctx, http

from callerid.guard import Guard
from callerid.proxy import flows, shown
from callerid.proxy.desk import Taken
from callerid.proxy.replies import Ending, OpenCall
from callerid.proxy.setup import Setup
from callerid.proxy.tee import Tee
from callerid.stamp.stamper import returned
from callerid.traces.rows import State
from callerid.turn import Request
from callerid.wire import parse


class Exchanges:
    """Calls that are under way, by their flows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._setup: Setup | None = None
        self._open: dict[str, tuple[OpenCall, Tee | None]] = {}
        self._later: deque[tuple[Setup, http.HTTPFlow, OpenCall, bytes, Ending]] = deque()

    def use(self, setup: Setup) -> None:
        """Go on with these parts; before there are any, all passes."""
        self._setup = setup

    def strip(self, flow: http.HTTPFlow) -> None:
        """Take away the headers that must not reach the upstream, whatever the request holds.

        When they come, because those of a body that is streamed are gone before it has ended.
        """
        if self._setup is not None:
            flows.strip(flow, self._setup.desk.strips(flows.head_of(flow)))

    def begin(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Identify a call and write its headers; the last step is the only one that touches it.

        Where others have to be asked, mitmproxy lets other flows go on meanwhile.
        """
        request, setup = flow.request, self._setup
        if setup is None or not parse.may_be_call(request.method, request.path):
            return None
        if request.raw_content is None:
            self._guard.note(
                "streamed_request", "a call's body was streamed (stream_large_bodies) and not seen"
            )
            return None
        asked = flows.request_of(flow, setup.scopes)
        encoding = asked.header("content-encoding")
        if setup.desk.sharing is not None:
            return self._take_and_send(flow, asked, encoding, setup)
        taken = setup.desk.take(asked, encoding, time.time())
        if taken is None:
            flows.apply(setup.desk.strips(asked), request.headers)
            return None
        if setup.desk.dispatcher.beside is not None:
            return self._afford_and_send(flow, taken, setup)
        self._send(flow, setup.desk.afford(taken, time.time()), setup)
        return None

    async def _take_and_send(
        self, flow: http.HTTPFlow, asked: Request, encoding: str, setup: Setup
    ) -> None:
        with self._guard("request"):
            taken = await setup.desk.take_in_time(asked, encoding, time.time())
            if taken is None:
                flows.apply(setup.desk.strips(asked), flow.request.headers)
                return
            taken = await setup.desk.afford_in_time(taken, time.time())
            self._send(flow, taken, setup)

    async def _afford_and_send(self, flow: http.HTTPFlow, taken: Taken, setup: Setup) -> None:
        with self._guard("request"):
            taken = await setup.desk.afford_in_time(taken, time.time())
            self._send(flow, taken, setup)

    def _send(self, flow: http.HTTPFlow, taken: Taken, setup: Setup) -> None:
        request = flow.request
        routes = flows.is_reverse(flow.client_conn)
        begun = setup.desk.send(taken, time.time(), routes=routes)
        if begun.refusal is not None:
            status, headers, body = begun.refusal
            flow.response = http.Response.make(status, body, dict(headers))
            if setup.settings.stamp.return_ids and taken.turn.identity is not None:
                flows.apply(returned(taken.turn.identity), flow.response.headers)
            shown.describe(flow, taken.turn.identity, setup.names)
            return
        if begun.call is not None:
            self._open[flow.id] = begun.call, None
            flow.metadata["callerid.call"] = begun.call.entry.id
            shown.describe(flow, taken.turn.identity, setup.names)
        there = {name.lower() for name, _ in taken.turn.request.headers}
        flow.metadata[flows.STAMPED] = [
            edit.name for edit in begun.edits if edit.value and edit.name not in there
        ]
        flows.apply(begun.edits, request.headers)
        if begun.body is not None:
            request.content = begun.body
        if begun.target is not None:
            request.scheme, request.host, request.port = begun.target

    def reply_begins(self, flow: http.HTTPFlow) -> None:
        """Let streams pass as they come, and look at those of calls on the way."""
        response, setup = flow.response, self._setup
        if response is None or setup is None:
            return
        open_call, headers = self._open.get(flow.id), flows.headers_of(response.headers)
        if open_call is None:
            if flows.is_event_stream(headers) and not response.stream:
                response.stream = True  # an event stream that is held back is no use to anyone
            return
        call, replies = open_call[0], setup.desk.replies
        edits = replies.begins(call, response.status_code, headers)
        is_stream = flows.is_stream(headers) or ctx.options.stream_large_bodies
        if is_stream and not response.stream:
            bound = setup.settings.stream.viewable_bytes
            tee = Tee(lambda chunk: replies.watch(call, chunk, time.time()), bound, time.time)
            self._open[flow.id] = call, tee
            response.stream = tee
        if setup.settings.stamp.return_ids:
            flows.apply(edits, response.headers)

    def end(self, flow: http.HTTPFlow) -> None:
        """A reply came to its end."""
        response, setup = flow.response, self._setup
        found = self._open.pop(flow.id, None)
        if response is None or setup is None or found is None:
            return
        call, tee = found
        now = time.time()
        body = b""
        if tee is not None:
            if response.raw_content is None and tee.viewable is not None:
                response.raw_content = tee.viewable
            _let_go(response, tee)
            first_byte, size = tee.first_byte, tee.size
        else:
            body = response.raw_content or b""
            first_byte, size = response.timestamp_start, len(body)
        ending = Ending(State.OK, response.status_code, now, first_byte, size)
        self._later.append((setup, flow, call, body, ending))
        try:
            asyncio.get_running_loop().call_soon(self._finish)
        except RuntimeError:  # no loop runs: nobody waits for the reply
            self._finish()

    def _finish(self) -> None:
        """See to what follows a reply, once its client has it, and before the next request is read.

        mitmproxy sends a reply on when our hook has returned, so nothing is done in it.
        """
        while self._later:
            setup, flow, call, body, ending = self._later.popleft()
            with self._guard("response"):
                if body:
                    setup.desk.replies.watch(call, body, ending.at)
                entry = setup.desk.replies.end(call, ending)
                if shown.is_looked_at():
                    shown.describe_end(flow, entry, setup.cost(entry))

    def fail(self, flow: http.HTTPFlow) -> None:
        """A call came to no end: the client or the provider went away."""
        if (found := self._open.pop(flow.id, None)) is None:
            return
        call, tee = found
        words = flow.error.msg if flow.error else "unknown"
        state = State.ABORTED if flows.has_client_left(flow) else State.UNREACHABLE
        _let_go(flow.response, tee)
        self._cut(call, tee, state, words)
        if call.placed.target is not None and self._setup is not None:
            # A connection may also end because it was idle for long: its upstream is there.
            self._setup.health.lost(call.placed.target.host, call.placed.target.port)

    def done(self, words: str) -> None:
        """Break off what is under way."""
        self._finish()
        for call, tee in list(self._open.values()):
            self._cut(call, tee, State.INTERRUPTED, words)
        self._open.clear()

    def _cut(self, call: OpenCall, tee: Tee | None, state: State, words: str) -> None:
        """End a call whose reply did not come to its end."""
        first_byte, size = (tee.first_byte, tee.size) if tee else (None, None)
        ending = Ending(state, call.status or None, time.time(), first_byte, size, words)
        if self._setup is not None:
            self._setup.desk.replies.end(call, ending)


def _let_go(response: http.Response | None, tee: Tee | None) -> None:
    """Leave nothing of ours on a reply that is over: mitmweb keeps its flows."""
    if response is not None and tee is not None and response.stream is tee:
        response.stream = True
