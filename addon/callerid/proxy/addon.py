"""The edge: the hooks that mitmproxy calls. Flows in, values on, header edits back."""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable
from pathlib import Path

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from callerid import files
from callerid.guard import Guard
from callerid.proxy import flows, turnview
from callerid.proxy.commandbar import CommandBar
from callerid.proxy.connections import Connections
from callerid.proxy.eviction import Eviction
from callerid.proxy.exchanges import Exchanges
from callerid.proxy.setup import Setup
from callerid.proxy.sockets import Sockets
from callerid.settings.checked import BadSetting, bad_setting
from callerid.settings.load import load
from callerid.traces.database import BadDatabase
from callerid.wire import parse

log = logging.getLogger(__name__)


class CallerId:
    """The hooks that mitmproxy calls."""

    def __init__(self) -> None:
        self.guard = Guard()
        self._setup: Setup | None = None
        self._exchanges = Exchanges(self.guard)
        self._sockets = Sockets(self.guard)
        self._connections = Connections(self.guard)
        self._eviction = Eviction()
        self.addons = [CommandBar(lambda: self._setup, self.guard)]  # mitmproxy looks for it here
        self._is_running = False
        self._view: object = None

    # Options are text and are read in configure: mitmproxy drops an addon without a word when an
    # option of another type has a bad value.
    def load(self, loader: Loader) -> None:
        """Declare our options, and offer our view of calls."""
        self._view = turnview.add()
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
        if self._setup is not None:
            self._setup.close()  # what it has queued is on record before the record is read
        path = Path(database).expanduser() if database else files.traces()
        try:
            self._setup = Setup(configuration, path, self.guard)
        except BadSetting as error:
            if not config:
                raise
            raise bad_setting(Path(config).expanduser(), str(error)) from None
        self._exchanges.use(self._setup)
        if self._is_running:
            log.info("callerid: %s", self._setup.start())
            self._connect_lazily(self._setup)

    def _connect_lazily(self, setup: Setup) -> None:
        """With upstreams of our own let nobody be refused because that of reverse mode is gone.

        mitmproxy connects to it when a client comes, before there is a request.
        """
        if setup.settings.routing.upstreams and ctx.options.connection_strategy == "eager":
            ctx.options.update(connection_strategy="lazy")  # type: ignore[no-untyped-call]
            log.info("callerid: connection_strategy is lazy now, as routing needs it")

    def running(self) -> None:
        """Learn which ports are ours, and say that we are there."""
        self._is_running = True
        with self.guard("running"):
            if self._setup is None:
                return
            where = self._setup.start()
            self._connect_lazily(self._setup)
            admin = self._setup.admin.port
            self._connections.close_ports(
                *self._setup.settings.proxy.refuse_ports, *([admin] if admin else [])
            )
            log.info("callerid: identifying LLM calls; %s", where)
            # What is there when all has started stays: the collector of garbage need not look at it
            # again and again, which stops the loop for some tens of milliseconds each time.
            gc.collect()
            gc.freeze()

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """A connection to an upstream is about to be made."""
        with self.guard("server_connect"):
            self._connections.refuse(data)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """A connection to an upstream was closed."""
        with self.guard("server_disconnected"):
            if self._setup is not None and data.server.address is not None:
                self._setup.health.lost(*data.server.address[:2])

    def tls_failed_client(self, data: TlsData) -> None:
        """A client broke the handshake off."""
        with self.guard("tls_failed_client"):
            self._connections.is_distrusted(data)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request begins."""
        with self.guard("requestheaders"):
            self._exchanges.strip(flow)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """A request is there."""
        with self.guard("request"):
            if self._setup is None or not flow.live or flow.response or flow.error:
                return None
            if page := self._setup.admin.answer(flow):
                flow.response = page
                return None
            return self._exchanges.begin(flow)
        return None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """A reply begins."""
        with self.guard("responseheaders"):
            self._exchanges.reply_begins(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """A reply came to its end."""
        with self.guard("response"):
            self._exchanges.end(flow)
            if flow.websocket is None:
                self._evict(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """A call came to no end."""
        with self.guard("error"):
            self._exchanges.fail(flow)
            self._evict(flow)

    def _evict(self, flow: http.HTTPFlow) -> None:
        if self._setup is not None:
            self._eviction.over(flow, self._setup.settings.view)

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """A WebSocket opens."""
        with self.guard("websocket"):
            if self._setup is not None and parse.may_hold_calls(flow.request.path):
                request = flows.request_of(flow, self._setup.scopes)
                self._sockets.start(flow, request, self._setup)

    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """A frame passes."""
        with self.guard("websocket"):
            if self._setup is not None:
                return self._sockets.message(flow, self._setup.settings.stream.viewable_bytes)
        return None

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket closed."""
        with self.guard("websocket"):
            self._sockets.end(flow)

    def done(self) -> None:
        """Finish what is in flight, and write all that is queued.

        mitmproxy calls this before it tells us of the flows that it is about to break off.
        """
        with self.guard("done"):
            words = "the proxy was stopped"
            self._exchanges.done(words)
            turnview.remove(self._view)
            self._sockets.done(words)
            if self._setup is not None:
                self._setup.close()
