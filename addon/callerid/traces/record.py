"""The thread that records: behind a bounded queue that drops but never waits."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

from callerid.guard import Guard
from callerid.prices import Prices
from callerid.settings.values import RecordSettings
from callerid.traces.discretion import Discretion
from callerid.traces.rows import Entry
from callerid.traces.write import Writer

BATCH = 1000  # entries a transaction: pages that many of them touch are written once
BATCH_BYTES = 32 << 20  # of requests and replies: large ones are written as they come
TEND_SECONDS = 0.02  # for what can wait: indexing, deleting; records come first
REST_SECONDS = 0.1  # after that, where there is more of it
IDLE_SECONDS = 5.0  # where there is not
RETRY_SECONDS = 2.0  # after a failure the next batch waits; the queue holds meanwhile


class Recorder:
    """Takes entries from the proxy's loop without waiting, and writes them in a thread of its own.

    What cannot be written is dropped, counted and said by the guard; as soon as the file can be
    written again, recording goes on.
    """

    def __init__(
        self, path: Path, settings: RecordSettings, guard: Guard, prices: Prices,
        discretion: Discretion | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self._discretion = discretion
        self._settings = settings
        self._prices = prices
        self._queue: queue.Queue[Entry | None] = queue.Queue(settings.queue_size)
        self._most_bytes = settings.queue_bytes
        self.most_reply_bytes = settings.reply_bytes
        # Each is counted by one thread only, and so without a lock.
        self._taken_bytes = self._finished_bytes = 0
        self._flush_seconds = settings.flush_seconds
        self._guard = guard
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callerid-record", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> bool:
        """Take an entry; False (and one dropped) where the queue is full."""
        waiting = self._taken_bytes - self._finished_bytes
        if waiting and waiting + entry.size > self._most_bytes:
            return False
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            return False
        self._taken_bytes += entry.size
        return True

    @property
    def depth(self) -> int:
        """How many entries wait."""
        return self._queue.qsize()

    @property
    def thread_id(self) -> int:
        """The thread that writes, to be measured."""
        return self._thread.ident or 0

    def close(self, timeout: float) -> None:
        """Write what is queued, for at most so many seconds, and stop."""
        self._is_closing.set()
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            pass  # the thread sees that it is closing as soon as it has written its batch
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._guard.note("dropped", f"{self.path}: not written in time at the end", self.depth)

    def _run(self) -> None:
        writer = Writer(self.path, self._prices, self._discretion, self._settings)
        pause = REST_SECONDS
        while True:
            batch = self._batch(pause)
            entries = [entry for entry in batch if entry is not None]
            if entries and (trouble := self._write(writer, entries)):
                self._guard.note("dropped", trouble, len(entries))
                self._is_closing.wait(RETRY_SECONDS)
            self._finished_bytes += sum(entry.size for entry in entries)
            if None in batch or (self._is_closing.is_set() and self._queue.empty()):
                break
            if self._queue.qsize() < BATCH:
                pause = self._tend(writer)
        writer.close()

    def _tend(self, writer: Writer) -> float:
        """Let the writer do some of what can wait; after how many seconds again, if none comes."""
        with self._guard("tend"):
            if writer.tend(TEND_SECONDS, time.time()):
                return REST_SECONDS
        return IDLE_SECONDS

    def _write(self, writer: Writer, entries: list[Entry]) -> str:
        """Write some entries; one by one, should one of them spoil the batch."""
        with self._guard("write"):
            return writer.write(entries)
        if len(entries) == 1:
            return f"{self.path}: a record could not be written"
        troubles = [self._write(writer, [entry]) for entry in entries]
        lost = [trouble for trouble in troubles if trouble]
        if lost:
            self._guard.note("dropped", lost[0], len(lost))
        return ""

    def _batch(self, pause: float) -> list[Entry | None]:
        """The entries of one transaction: those that come within the flush time.

        None of them where none came within the pause.
        """
        try:
            batch = [self._queue.get(timeout=pause)]
        except queue.Empty:
            return []
        size = batch[0].size if batch[0] else 0
        deadline = time.monotonic() + self._flush_seconds
        while len(batch) < BATCH and size < BATCH_BYTES and batch[-1] is not None:
            rest = deadline - time.monotonic()
            try:
                at_once = rest <= 0 or self._is_closing.is_set()
                entry = self._queue.get(block=not at_once, timeout=max(rest, 0.001))
            except queue.Empty:
                break
            batch.append(entry)
            size += entry.size if entry else 0
        return batch
