"""The pages for operators at the edge: a port of their own, reverse mode, a magic host."""

from __future__ import annotations

import time

from mitmproxy import http

from callerid.dispatch.dispatcher import Dispatcher
from callerid.explorer.app import Explorer
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.numbers import Numbers
from callerid.operators.access import Asked
from callerid.operators.pages import PATHS, Pages, Status
from callerid.operators.server import Server, is_local
from callerid.proxy import flows
from callerid.settings.load import Configuration
from callerid.traces.record import Recorder


class Admin:
    """Answers for the pages wherever they are offered."""

    def __init__(
        self, configuration: Configuration, numbers: Numbers, switchboard: Switchboard,
        recorder: Recorder | None, dispatcher: Dispatcher, guard: Guard,
    ) -> None:  # fmt: skip
        settings = configuration.settings
        self._configuration = configuration
        self._settings = settings.admin
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._guard = guard
        self._memory = switchboard.memory
        self._began = time.monotonic()
        self._pages = Pages(settings, numbers, self._lengths, self._status)
        self._server: Server | None = None
        numbers.watch("sessions_active", "Sessions remembered", lambda: len(self._memory))
        numbers.watch("queued_records", "Records that wait for the writer", lambda: self._queued)
        upstreams = dispatcher.upstreams
        numbers.watch_each(
            "upstream_up", "Whether an upstream gets calls", "upstream",
            lambda: {url: float(is_well) for url, (is_well, _) in upstreams().items()},
        )  # fmt: skip
        numbers.watch_each(
            "upstream_sessions", "Live sessions bound to an upstream", "upstream",
            lambda: {url: live for url, (_, live) in upstreams().items()},
        )  # fmt: skip

    @property
    def _queued(self) -> int:
        return self._recorder.depth if self._recorder else 0

    def _lengths(self) -> tuple[int, int, int]:
        return len(self._memory), self._memory.messages, self._memory.longest

    def _status(self) -> Status:
        where = str(self._recorder.path) if self._recorder else "not recorded"
        dropped = self._guard.counts["dropped"]
        uptime = time.monotonic() - self._began
        return Status(where, self._queued, dropped, uptime, self._dispatcher.upstreams())

    def start(self) -> str:
        """Open the port, if there shall be one; in words, where the pages are."""
        if not self._settings.enabled:
            return "no metrics (admin.enabled is false)"
        host, port = self._settings.host, self._settings.port
        try:
            explorer = None
            if self._recorder:
                explorer = Explorer(self._recorder.path, self._configuration, is_aside=True)
            self._server = Server(self._pages, host, port, explorer)
        except OSError as error:
            gone = "no explorer and no metrics" if self._recorder else "no metrics"
            return (
                f"{gone}: {host} port {port}: {error.strerror}; another port in the settings, "
                "or any that is free: `admin: {port: 0}`"
            )
        url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.port}"
        look = f"look at {url}/, " if explorer else ""
        return f"{look}metrics at {url}/metrics"

    @property
    def port(self) -> int | None:
        """The port that was opened."""
        return self._server.port if self._server else None

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def answer(self, flow: http.HTTPFlow) -> http.Response | None:
        """What a client of the proxy is answered who asks for a page; None where he asks none."""
        request = flow.request
        if request.method not in ("GET", "HEAD") or not self._is_asked(flow):
            return None
        headers = request.headers
        address = str((flow.client_conn.peername or ("",))[0])
        asked = Asked(
            path=request.path,
            host=self._host(flow),
            accept=headers.get("accept", ""),
            authorization=headers.get("authorization", ""),
            is_local=is_local(address),
        )
        page = self._pages.answer(asked)
        return http.Response.make(page.status, page.body, {"content-type": page.content_type})

    @staticmethod
    def _host(flow: http.HTTPFlow) -> str:
        """The host by which a client asks.

        mitmproxy writes the upstream's into the header in reverse mode. A program has named us
        then, but who named us to a browser nobody knows: that one shall use the other port.
        """
        request = flow.request
        if not flows.is_reverse(flow.client_conn):
            return str(request.host_header or "")
        is_browser = request.headers.get("user-agent", "").startswith("Mozilla/")
        return "a browser in reverse mode" if is_browser else "localhost"

    def _is_asked(self, flow: http.HTTPFlow) -> bool:
        magic = self._settings.magic_host
        if magic and flow.request.pretty_host == magic:
            return True
        if not self._settings.in_reverse_mode or not flows.is_reverse(flow.client_conn):
            return False
        return flow.request.path.partition("?")[0] in PATHS
