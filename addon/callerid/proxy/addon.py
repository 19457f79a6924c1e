"""The edge: the hooks that mitmproxy calls. Flows in, values on, header edits back."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from pathlib import Path

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from callerid import files
from callerid.guard import Guard
from callerid.identity.candidates import Candidates
from callerid.identity.switchboard import Switchboard
from callerid.numbers import Numbers
from callerid.prices import Prices
from callerid.proxy import flows
from callerid.proxy.admin import Admin
from callerid.proxy.connections import Connections
from callerid.proxy.desk import Desk, Ending, OpenCall
from callerid.proxy.sockets import Sockets
from callerid.proxy.tee import Tee
from callerid.scopes import Scopes
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration, load
from callerid.stamp.stamper import Stamper
from callerid.stamp.upstreams import Upstreams
from callerid.traces.database import BadDatabase
from callerid.traces.record import Recorder
from callerid.traces.restore import restore
from callerid.traces.rows import State
from callerid.wire import parse

log = logging.getLogger(__name__)

CLOSING_SECONDS = 10.0  # for the writer at the end; mitmproxy waits that long
# What mitmproxy says when it was the client that went away (proxy/layers/http, both versions).
_CLIENT_LEFT = re.compile(r"client disconnected|by client|peer closed connection", re.IGNORECASE)


def new_id(prefix: str) -> str:
    """An id that nobody else has: `sess_` and the like, then 32 hexadecimal digits."""
    return f"{prefix}_{uuid.uuid4().hex}"


class CallerId:
    """The hooks that mitmproxy calls."""

    def __init__(self) -> None:
        self.guard = Guard()
        self.desk: Desk | None = None
        self.configuration: Configuration | None = None
        self._recorder: Recorder | None = None
        self._open: dict[str, tuple[OpenCall, Tee | None]] = {}
        self._sockets = Sockets(self.guard)
        self._connections = Connections(self.guard)
        self._admin: Admin | None = None
        self._is_running = False

    # Options are text and are read in configure: mitmproxy drops an addon without a word when an
    # option of another type has a bad value.
    def load(self, loader: Loader) -> None:
        """Declare our options."""
        loader.add_option("callerid_config", str, "", "A settings file (see config/callerid.yaml).")
        loader.add_option(
            "callerid_db", str, "", f"The file of the traces (default: {files.traces()})."
        )

    def configure(self, updated: set[str]) -> None:
        """Read the settings and open the traces; a mistake stops mitmproxy here."""
        if not updated & {"callerid_config", "callerid_db"}:
            return
        try:
            self._set_up(ctx.options.callerid_config, ctx.options.callerid_db)
        except (BadSetting, BadDatabase) as error:
            self._refuse(f"callerid: {error}")

    def _refuse(self, complaint: str) -> None:
        """Stop mitmproxy while it starts, by an error in one line; later refuse the new option."""
        if self._is_running:
            raise exceptions.OptionsError(complaint)  # type: ignore[no-untyped-call]
        log.error(complaint)  # mitmproxy ends when an error is logged before it runs

    def _set_up(self, config: str, database: str) -> None:
        configuration = load(str(Path(config).expanduser()) if config else "")
        path = Path(database).expanduser() if database else files.traces()
        switchboard = Switchboard(configuration, new_id)
        self._close_recorder()
        digest_key = os.urandom(32)
        if configuration.settings.record.enabled:
            digest_key = restore(path, switchboard, self.guard, time.time())
            prices = Prices(configuration.prices)
            self._recorder = Recorder(path, configuration.settings.record, self.guard, prices)
        stamp = configuration.settings.stamp
        upstreams = Upstreams(configuration.providers, configuration.profiles, stamp.upstreams)
        stamper = Stamper(upstreams, sets=stamp.enabled, sends_final=stamp.final)
        self._scopes = Scopes(configuration.credentials, digest_key)
        self.configuration = configuration
        candidates = Candidates(configuration.clients)
        numbers = Numbers(self.guard.counts)
        self.desk = Desk(
            switchboard, stamper, self._recorder, self.guard, new_id, candidates, numbers
        )
        self._stop_admin()
        self._admin = Admin(
            configuration.settings, numbers, switchboard, self._recorder, self.guard
        )
        if self._is_running:
            log.info("callerid: %s", self._admin.start())

    def running(self) -> None:
        """Learn which ports are ours, and say that we are there."""
        self._is_running = True
        with self.guard("running"):
            if self.configuration is None or self._admin is None:
                return
            pages = self._admin.start()
            self._connections.close_ports(
                *self.configuration.settings.proxy.refuse_ports,
                *([self._admin.port] if self._admin.port else []),
            )
            where = self._recorder.path if self._recorder else "nothing: record.enabled is false"
            log.info("callerid: identifying LLM calls; traces in %s; %s", where, pages)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """A connection to an upstream is about to be made."""
        with self.guard("server_connect"):
            self._connections.refuse(data)

    def tls_failed_client(self, data: TlsData) -> None:
        """A client broke the handshake off."""
        with self.guard("tls_failed_client"):
            self._connections.is_distrusted(data)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take away the headers that must not reach the upstream, whatever the request holds.

        Here, because those of a body that is streamed are gone before it has ended.
        """
        with self.guard("requestheaders"):
            if self.desk is not None:
                flows.strip(flow, self.desk.strips(flows.head_of(flow.request)))

    def request(self, flow: http.HTTPFlow) -> None:
        """Identify a call and write its headers; the last step is the only one that touches it."""
        with self.guard("request"):
            if self.desk is None or not flow.live or flow.response or flow.error:
                return
            request = flow.request
            if self._admin and (page := self._admin.answer(flow)):
                flow.response = page
                return
            if not parse.may_be_call(request.method, request.path):
                return
            if request.raw_content is None:
                self.guard.note(
                    "streamed_request",
                    "a call's body was streamed (stream_large_bodies) and not seen",
                )
                return
            encoding = request.headers.get("content-encoding", "")
            begun = self.desk.begin(flows.request_of(flow, self._scopes), encoding, time.time())
            if begun.call is not None:
                self._open[flow.id] = begun.call, None
                flow.metadata["callerid.call"] = begun.call.entry.id
                flows.describe(flow, begun.call.turn.identity)
            flow.metadata[flows.STAMPED] = [
                edit.name for edit in begun.edits if edit.value and edit.name not in request.headers
            ]
            flows.apply(begun.edits, request.headers)
            if begun.body is not None:
                request.content = begun.body

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let streams pass as they come, and look at those of calls on the way."""
        with self.guard("responseheaders"):
            response = flow.response
            if response is None or self.desk is None or not self.configuration:
                return
            open_call = self._open.get(flow.id)
            if open_call is None:
                if flows.is_event_stream(response) and not response.stream:
                    response.stream = True  # an event stream that is held back is no use to anyone
                return
            call = open_call[0]
            headers = flows.headers_of(response.headers)
            edits = self.desk.reply_begins(call, response.status_code, headers)
            is_stream = flows.is_stream(response) or ctx.options.stream_large_bodies
            if is_stream and not response.stream:
                bound = self.configuration.settings.stream.viewable_bytes
                desk = self.desk
                tee = Tee(lambda chunk: desk.watch(call, chunk, time.time()), bound, time.time)
                self._open[flow.id] = call, tee
                response.stream = tee
            if self.configuration.settings.stamp.return_ids:
                flows.apply(edits, response.headers)

    def response(self, flow: http.HTTPFlow) -> None:
        """A reply came to its end."""
        response = flow.response
        if response is None or (found := self._open.pop(flow.id, None)) is None:
            return
        call, tee = found
        with self.guard("response"):
            now = time.time()
            if tee is not None:
                if response.raw_content is None and tee.viewable is not None:
                    response.raw_content = tee.viewable
                self._let_go(response, tee)
                first_byte, size = tee.first_byte, tee.size
            else:
                body = response.raw_content or b""
                first_byte, size = response.timestamp_start, len(body)
                if self.desk is not None:
                    self.desk.watch(call, body, now)
            self._end(call, Ending(State.OK, response.status_code, now, first_byte, size))

    def error(self, flow: http.HTTPFlow) -> None:
        """A call came to no end: the client or the provider went away."""
        if (found := self._open.pop(flow.id, None)) is None:
            return
        call, tee = found
        with self.guard("error"):
            words = flow.error.msg if flow.error else "unknown"
            state = State.ABORTED if _CLIENT_LEFT.search(words) else State.UNREACHABLE
            self._let_go(flow.response, tee)
            self._cut(call, tee, state, words)

    @staticmethod
    def _let_go(response: http.Response | None, tee: Tee | None) -> None:
        """Leave nothing of ours on a reply that is over: mitmweb keeps its flows."""
        if response is not None and tee is not None and response.stream is tee:
            response.stream = True

    def _cut(self, call: OpenCall, tee: Tee | None, state: State, words: str) -> None:
        """End a call whose reply did not come to its end."""
        first_byte, size = (tee.first_byte, tee.size) if tee else (None, None)
        status = call.status or None
        self._end(call, Ending(state, status, time.time(), first_byte, size, words))

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """A WebSocket opens."""
        with self.guard("websocket"):
            if self.desk is not None and parse.may_hold_calls(flow.request.path):
                self._sockets.start(flow, flows.request_of(flow, self._scopes), self.desk)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A frame passes."""
        with self.guard("websocket"):
            if self.configuration is not None:
                self._sockets.message(flow, self.configuration.settings.stream.viewable_bytes)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket closed."""
        with self.guard("websocket"):
            self._sockets.end(flow)

    def _end(self, call: OpenCall, ending: Ending) -> None:
        if self.desk is not None:
            self.desk.end(call, ending)

    def done(self) -> None:
        """Finish what is in flight, and write all that is queued.

        mitmproxy calls this before it tells us of the flows that it is about to break off.
        """
        with self.guard("done"):
            words = "the proxy was stopped"
            for call, tee in list(self._open.values()):
                self._cut(call, tee, State.INTERRUPTED, words)
            self._open.clear()
            self._sockets.done(words)
            self._close_recorder()
            self._stop_admin()

    def _stop_admin(self) -> None:
        if self._admin is not None:
            self._admin.stop()

    def _close_recorder(self) -> None:
        if self._recorder is not None:
            self._recorder.close(CLOSING_SECONDS)
            self._recorder = None
