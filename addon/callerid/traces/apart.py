"""Records in a process of its own: two Pythons in one process would wait for each other.

If it goes away another one is started; what it had not written yet is counted as dropped. If we go
away it writes what it has, and marks what was in flight as interrupted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from callerid import processes
from callerid.guard import Guard
from callerid.settings.load import Configuration
from callerid.traces import parcels
from callerid.traces.parcels import PARCEL_BYTES, Order, Packer, Parcel, Report
from callerid.traces.record import Room, ThreadRecorder, in_a_thread
from callerid.traces.rows import Entry
from callerid.traces.scribe import RETRY_SECONDS

log = logging.getLogger("callerid")

CARRY_SECONDS = 0.02  # parcels go together: each waking of the thread disturbs the proxy's loop
PIPE_BYTES = 1 << 20


class ApartRecorder:
    """A Recorder with a process of its own; with a thread, where that process does not start."""

    def __init__(self, path: Path, configuration: Configuration, guard: Guard) -> None:
        settings = configuration.settings.record
        self.path = path
        self.most_reply_bytes = settings.reply_bytes
        self._order = Order(path, configuration)
        self._room = Room(settings)
        self._guard = guard
        self._entries: deque[Entry] = deque()
        self._has_entries = threading.Event()
        self._is_closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = _started()
        self._instead: ThreadRecorder | None = None
        self._is_settled = threading.Event()  # whether the process works, or there will be none
        self._lock = threading.Lock()  # of what says who gets the entries
        self._threads = [
            threading.Thread(target=run, name="callerid-record", daemon=True)
            for run in (self._carry, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, entry: Entry) -> bool:
        """Take an entry; False (and one dropped) where too much waits."""
        with self._lock:
            if self._instead is not None:
                return self._instead.put(entry)
            size = entry.size
            if not self._room.has(size):
                return False
            self._room.take(entry, size)
            self._entries.append(entry)
        if not self._has_entries.is_set():
            self._has_entries.set()
        return True

    @property
    def depth(self) -> int:
        """How many entries wait."""
        return self._room.depth + (self._instead.depth if self._instead else 0)

    @property
    def process_id(self) -> int:
        """The process that writes; 0 where there is none at the moment."""
        return self._process.pid if self._process else 0

    def close(self, timeout: float) -> None:
        """Write what waits, for at most so many seconds, and stop."""
        until = time.monotonic() + timeout
        self._is_closing.set()
        self._has_entries.set()
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
        if self._instead is not None:
            self._instead.close(max(until - time.monotonic(), 0))
        if not self._room.depth:
            return
        what = f"{self.path}: {self._room.depth} records were not written in time at the end"
        if self._process is not None:
            self._guard.note("late", f"{what}; process {self._process.pid} goes on with them")
        else:
            self._guard.lost(what, self._room.depth, self._room.ended)

    def _carry(self) -> None:
        """Carry entries to the process that is there, until the last are and it is told so."""
        process, packer = None, Packer(self._guard)
        while True:
            self._has_entries.wait()
            is_last = self._is_closing.wait(CARRY_SECONDS)
            self._has_entries.clear()
            self._is_settled.wait()
            with self._lock:
                known, process = process, self._process
                count = len(self._entries) if process else 0
                entries = [self._entries.popleft() for _ in range(count)]
                is_over = process is None and self._is_settled.is_set()
            if is_over:
                return
            if process is None:  # it went away just now, and another is started
                self._has_entries.set()
                continue
            if process is not known:
                packer = Packer(self._guard)
            _send(process, (self._packed(packer, portion) for portion in _portions(entries)))
            if is_last:
                _send(process, [parcels.parcel(None)])
                return

    def _packed(self, packer: Packer, entries: Sequence[Entry]) -> Parcel:
        with self._guard("record"):
            return packer.pack(entries)
        return parcels.parcel([parcels.unsent(entry) for entry in entries])

    def _listen(self) -> None:
        """Hear what the process has done; where it goes away, start another."""
        while (process := self._process) is not None:
            _send(process, [parcels.parcel(self._order)])
            self._hear(process)
            status = process.wait()
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            if self._is_closing.is_set() and not self._room.depth:
                break
            with self._lock:
                self._process = None
                self._drop(f"{self.path}: the process that writes it ended with status {status}")
            if self._instead is not None:
                break
            while self._process is None and not self._is_closing.wait(RETRY_SECONDS):
                with self._guard("record"):
                    self._process = _started()
        self._is_settled.set()

    def _drop(self, what: str) -> None:
        """Count what a process had when it went away; one that never worked had nothing."""
        if not self._is_settled.is_set():
            instead = in_a_thread(self.path, self._order.configuration, self._guard)
            self._guard.note("no_process", f"{what} before it worked; a thread writes instead")
            for entry in self._entries:
                instead.put(entry)
            self._room.give_back(self._room.depth, self._room.bytes)
            self._entries.clear()
            self._instead = instead
            return
        self._is_settled.clear()
        lost = self._room.depth - len(self._entries)
        size = self._room.bytes - sum(entry.size for entry in self._entries)
        ended = self._room.give_back(lost, size)
        there = _on_record(self.path, ended)  # it may have gone before it could say so
        self._guard.lost(f"{what}; another one is started", lost - there, len(ended) - there)

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as pipe:
            while head := pipe.read(parcels.HEAD_BYTES):
                if len(head) < parcels.HEAD_BYTES:
                    return
                pickled = pipe.read(parcels.lengths(head)[0])
                with self._guard("report"):
                    self._take(parcels.opened(pickled))

    def _take(self, report: object) -> None:
        assert isinstance(report, Report)
        self._is_settled.set()
        self._room.give_back(report.entries, report.bytes)
        for kind, times in report.counts.items():
            self._guard.counts[kind] += times
        for level, text in report.said:
            log.log(level, "%s", text)


def _portions(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries in portions of no more than PARCEL_BYTES, or of one."""
    portion: list[Entry] = []
    size = 0
    for entry in entries:
        if portion and size + entry.size > PARCEL_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += entry.size
    if portion:
        yield portion


def _on_record(path: Path, ids: list[str]) -> int:
    """Of how many calls the end is on record."""
    query = (
        "select count(*) from calls where state != 'in_flight'"
        " and id in (select value from json_each(?))"
    )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return int(database.execute(query, [json.dumps(ids)]).fetchone()[0])
    except sqlite3.Error:
        return 0


def _started() -> subprocess.Popen[bytes]:
    """A new process; raises OSError."""
    process = processes.start("callerid.traces.process")
    assert process.stdin is not None
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # it takes fewer turns to fill it
        with suppress(OSError):  # a system may allow less
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


def _send(process: subprocess.Popen[bytes], waiting: Iterable[Parcel]) -> None:
    """Write some parcels; where nobody reads any more, the listener sees to it."""
    assert process.stdin is not None
    with suppress(OSError, ValueError):
        for pieces in waiting:
            process.stdin.writelines(pieces)
        process.stdin.flush()
