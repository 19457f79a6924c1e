"""All parts together, as the settings say; made anew when those change."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from callerid.dispatch.budgets import Budgets
from callerid.dispatch.dispatcher import Dispatcher
from callerid.dispatch.routes import Routes
from callerid.exports import otlp
from callerid.exports.live import LiveExport
from callerid.guard import Guard
from callerid.identity.candidates import Candidates
from callerid.identity.switchboard import Switchboard
from callerid.identity.trust import Trust
from callerid.ids import new_id
from callerid.numbers import Numbers
from callerid.prices import Prices, sale, used
from callerid.proxy.admin import Admin
from callerid.proxy.corrected import Corrected
from callerid.proxy.desk import Desk
from callerid.proxy.health import Health
from callerid.proxy.joining import Joining, joining
from callerid.scopes import Scopes
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration
from callerid.stamp.stamper import Stamper
from callerid.stamp.upstreams import Upstreams
from callerid.traces.apart import ApartRecorder
from callerid.traces.database import keep_digest_key
from callerid.traces.discretion import discretion
from callerid.traces.record import Recorder, in_a_thread
from callerid.traces.restore import restore, restored_bindings
from callerid.traces.rows import Entry

EXPORT_CLOSING_SECONDS = 5.0  # for spans that still wait at the end
CLOSING_SECONDS = 10.0  # for the writer at the end; mitmproxy waits that long


class Setup:
    """The parts that one configuration comes to; raises BadSetting and BadDatabase."""

    def __init__(self, configuration: Configuration, database: Path, guard: Guard) -> None:
        settings, prices = configuration.settings, Prices(configuration.prices)
        switchboard = Switchboard(configuration, new_id)
        dispatcher = _dispatcher(configuration, switchboard, prices)
        self.settings = settings
        self._prices = Prices(configuration.prices)  # of those who look: asked in the loop
        self._recorder: Recorder | None = None
        digest_key, kept = os.urandom(32), settings.session.persistence
        if settings.record.enabled:
            is_told = kept.enabled and not kept.is_shared
            digest_key = restore(database, switchboard, guard, time.time(), sessions=is_told)
            _restore_bindings(database, dispatcher.routes, settings.routing.affinity_ttl_secs)
            self._recorder = _recorder(database, configuration, guard)
        self.scopes = Scopes(configuration.credentials, digest_key)
        routes = dispatcher.routes
        self._joining = joining(configuration, switchboard, routes, guard, digest_key)
        numbers = Numbers(guard.counts)
        self._exporter = _exporter(configuration, guard, numbers)
        self.desk = Desk(
            switchboard, _stamper(configuration), self._recorder, guard, new_id,
            Candidates(configuration.clients), numbers, dispatcher, self._exporter,
            self._joining.sharing if self._joining is not None else None,
        )  # fmt: skip
        if self._joining is not None:
            self._join(self._joining, database, numbers)
        self.admin = Admin(configuration, numbers, switchboard, self._recorder, dispatcher, guard)
        self._corrected = None
        if self._recorder is not None:
            self._corrected = Corrected(database, switchboard, self.desk.replies.has_open, guard)
            if self._joining is not None:
                self._corrected.on_taken_in = self._joining.sharing.tell_anew
        self.health = Health(dispatcher.routes, settings.routing.health, guard)

    def _join(self, joining: Joining, database: Path, numbers: Numbers) -> None:
        """Ask for the key by which all who share name customers, and go on with it."""

        def use_key(key: bytes) -> None:
            self.scopes.share(key)
            if self._recorder is not None:
                keep_digest_key(database, key)

        joining.use_key = use_key
        words = "Sessions of which other proxies do not know all yet"
        numbers.watch("sessions_untold", words, lambda: len(joining.sharing.publisher))
        joining.at_once()

    def start(self) -> str:
        """Begin what needs mitmproxy's loop; in words, where the pages are and the traces go."""
        pages = self.admin.start()
        if self._corrected is not None:
            self._corrected.start()
        if self._joining is not None:
            self._joining.start()
        self.health.start()
        where = self._recorder.path if self._recorder else "nothing: record.enabled is false"
        return f"traces in {where}; {pages}"

    @property
    def traces(self) -> Path | None:
        """Where the calls are recorded, if they are."""
        return self._recorder.path if self._recorder else None

    @property
    def names(self) -> Mapping[str, str]:
        """The names that people gave sessions, by their ids."""
        return self._corrected.names if self._corrected is not None else {}

    def cost(self, entry: Entry) -> float | None:
        """What a call cost, as far as that can be said without waiting for the price lists."""
        if entry.reply is None or not self._prices.is_loaded:
            return None
        sold = sale(entry.provider, entry.request, entry.call, entry.reply)
        return self._prices.cost(sold, used(entry.call, entry.reply), entry.timing.started)

    def close(self) -> None:
        """Write all that is queued, and stop."""
        if self._corrected is not None:
            self._corrected.stop()
        if self._joining is not None:
            self._joining.stop()
        self.health.stop()
        self.desk.dispatcher.close()
        self.admin.stop()
        if self._recorder is not None:
            self._recorder.close(CLOSING_SECONDS)
            self._recorder = None
        if self._exporter is not None:
            self._exporter.close(EXPORT_CLOSING_SECONDS)
            self._exporter = None


def _recorder(database: Path, configuration: Configuration, guard: Guard) -> Recorder:
    """What records: in a process of its own, if it shall and one can be started."""
    settings = configuration.settings.record
    discretion(configuration, guard)  # a mistake is said here, at the start
    if settings.own_process and os.name == "posix" and not hasattr(sys, "frozen"):
        try:
            return ApartRecorder(database, configuration, guard)
        except OSError as error:
            guard.tell(f"no process of its own for the recorder, but a thread: {error}")
    return in_a_thread(database, configuration, guard)


def _exporter(configuration: Configuration, guard: Guard, numbers: Numbers) -> LiveExport | None:
    settings = configuration.settings.export.otlp
    if not settings.endpoint:
        return None
    if not otlp.is_there():
        raise BadSetting(
            f"export.otlp.endpoint = {settings.endpoint!r}, but OpenTelemetry is not installed: "
            "pip install 'callerid[otlp]'"
        )
    exporter = LiveExport(
        settings, Prices(configuration.prices), guard,
        discretion=discretion(configuration, guard),  # its own: what it remembers is one thread's
    )  # fmt: skip
    words = "Calls whose spans wait for the collector"
    numbers.watch("export_waiting", words, lambda: exporter.waiting)
    words = "Spans that the collector has taken since the start"
    numbers.watch("export_sent", words, lambda: exporter.sent)
    return exporter


def _dispatcher(
    configuration: Configuration, switchboard: Switchboard, prices: Prices
) -> Dispatcher:
    settings = configuration.settings
    try:
        budgets = Budgets(settings.rate_limiting, prices)
    except ValueError as error:
        raise BadSetting(
            f"rate_limiting.storage cannot be used: {error}"  # its URL may hold a password
        ) from None
    return Dispatcher(budgets, Routes(settings.routing), switchboard.declarations.long_id)


def _stamper(configuration: Configuration) -> Stamper:
    stamp = configuration.settings.stamp
    upstreams = Upstreams(configuration.providers, configuration.profiles, stamp.upstreams)
    takes = Trust(configuration.settings.session.declare_from).takes
    return Stamper(upstreams, sets=stamp.enabled, sends_final=stamp.final, takes=takes)


def _restore_bindings(database: Path, routes: Routes, ttl: float) -> None:
    for session_id, url, heard, is_closed in restored_bindings(database, time.time() - ttl):
        routes.restore(session_id, url, heard, is_closed=is_closed)
