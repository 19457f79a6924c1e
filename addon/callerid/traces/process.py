"""The process that records: parcels come in, traces.db is written, reports go out.

It ends when it is told so. Where the proxy goes away without a word it writes what it was given,
and marks what was in flight as interrupted. Started by apart.py.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import sqlite3
import sys
import time
from collections import Counter, deque
from contextlib import closing, suppress
from pathlib import Path

from callerid.guard import Guard
from callerid.identity.switchboard import message_reader
from callerid.prices import Prices
from callerid.settings.load import Configuration
from callerid.traces import parcels
from callerid.traces.database import BadDatabase, open_database
from callerid.traces.discretion import discretion
from callerid.traces.parcels import Begun, Lost, Order, Report, Unpacker, Unsent
from callerid.traces.rows import Entry
from callerid.traces.scribe import Scribe
from callerid.traces.write import Writer
from callerid.traces.writers import mark_interrupted

READ_BYTES = 1 << 20
MARK_TRIES, MARK_SECONDS = 10, 0.1
REMEMBERED_BYTES = 24 << 20  # of messages; what is not remembered must be read again


def main() -> None:
    """Do as the first parcel says, with those that follow."""
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)  # meant for the proxy, which still has things to write
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(sys.stderr.fileno(), 1)  # whatever prints something does not write into our reports
    parcelled = _Parcels(incoming)
    order, _ = parcelled.get(None)
    assert isinstance(order, Order)
    path, configuration = order
    guard = Guard()
    inbox = _Inbox(parcelled, configuration, guard, outgoing)
    inbox.tell(Report())  # that we are there
    settings = configuration.settings.record
    writer = Writer(path, Prices(configuration.prices), discretion(configuration, guard), settings)
    Scribe(path, writer, settings, guard, inbox.finished).run(inbox)
    if inbox.is_cut_off:
        _mark(path)
    inbox.report()


def _mark(path: Path) -> None:
    """Mark what was in flight as interrupted; or the next proxy does it when it starts.

    Who reads the file at this moment may keep it for himself for as long as it takes to open it.
    """
    for _ in range(MARK_TRIES):
        with suppress(BadDatabase, sqlite3.Error), closing(open_database(path)) as database:
            mark_interrupted(database, path)
            return
        time.sleep(MARK_SECONDS)


class _Parcels:
    """What comes out of a pipe, cut into parcels."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._buffer = bytearray()

    def get(self, timeout: float | None) -> tuple[object, bytes]:
        """The next parcel and what follows its pickle, within some seconds.

        Raises queue.Empty, and EOFError at the end.
        """
        until = time.monotonic() + (timeout or 0)
        while (found := self._cut()) is None:
            rest = None if timeout is None else max(until - time.monotonic(), 0)
            if not select.select([self._pipe], [], [], rest)[0]:
                raise queue.Empty
            more = os.read(self._pipe, READ_BYTES)
            if not more:
                raise EOFError
            self._buffer += more
        return found

    def is_more(self) -> bool:
        """Whether something waits in the pipe."""
        return bool(self._buffer or select.select([self._pipe], [], [], 0)[0])

    def _cut(self) -> tuple[object, bytes] | None:
        if len(self._buffer) < parcels.HEAD_BYTES:
            return None
        start = parcels.HEAD_BYTES
        pickled, bodies = parcels.lengths(bytes(self._buffer[:start]))
        between, end = start + pickled, start + pickled + bodies
        if len(self._buffer) < end:
            return None
        found = parcels.opened(bytes(self._buffer[start:between])), bytes(self._buffer[between:end])
        del self._buffer[:end]
        return found


class _Inbox:
    """The source of entries that come as parcels; it reports what has become of them."""

    def __init__(
        self, parcelled: _Parcels, configuration: Configuration, guard: Guard, outgoing: int
    ) -> None:
        self.is_cut_off = False
        self._parcels = parcelled
        self._waiting: deque[tuple[object, bytes]] = deque()  # of the parcel that came last
        keeps_units = configuration.settings.record.content == "none"  # of what was said: digests
        self._unpacker = Unpacker(
            message_reader(configuration, REMEMBERED_BYTES, units=keeps_units)
        )
        self._guard = guard
        self._outgoing = outgoing
        self._told: Counter[str] = Counter()
        self._entries = self._bytes = 0
        self._said: list[tuple[int, str]] = []
        _forward_log(self._said)

    def get(self, timeout: float) -> Entry | None:
        """The next entry, within some seconds; raises queue.Empty."""
        self.report()
        until = time.monotonic() + timeout
        while True:
            while not self._waiting:
                try:
                    said, bodies = self._parcels.get(max(until - time.monotonic(), 0))
                except EOFError:
                    self.is_cut_off = True
                    return None
                if said is None:
                    return None
                self._waiting.extend(parcels.unpacked(said, bodies))
            said, new = self._waiting.popleft()
            try:
                return self._unpacker.unpack(said, new)
            except Lost as lost:
                one = said.entry if isinstance(said, Begun) else said
                one = one if isinstance(one, Entry | Unsent) else Unsent("", 0, False)
                words = f"a record could not be taken over: {lost}"
                self._guard.lost(words, 1, int(one.has_ended))
                self._entries += 1
                self._bytes += one.size

    def is_full(self) -> bool:
        """Whether more has come."""
        return bool(self._waiting) or self._parcels.is_more()

    def finished(self, entries: list[Entry]) -> None:
        """Take down that some entries need nobody's care any more."""
        self._entries += len(entries)
        self._bytes += sum(entry.size for entry in entries)

    def report(self) -> None:
        """Tell the proxy what is new, if anything is."""
        counts = self._guard.counts - self._told
        if not (self._entries or counts or self._said):
            return
        self.tell(Report(self._entries, self._bytes, dict(counts), self._said[:]))
        self._told += counts
        self._entries = self._bytes = 0
        self._said.clear()

    def tell(self, report: Report) -> None:
        """Send a report."""
        with suppress(OSError):  # nobody listens any more
            for piece in parcels.parcel(report):
                _write(self._outgoing, piece)


def _write(pipe: int, whole: bytes) -> None:
    rest = memoryview(whole)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _forward_log(said: list[tuple[int, str]]) -> None:
    """Keep what callerid logs, for the proxy to log it."""
    handler = logging.Handler()
    handler.emit = lambda record: said.append((record.levelno, record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("callerid")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)


if __name__ == "__main__":
    main()
