"""Writes down what comes from a source, batch by batch, and in between does what can wait."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from callerid.guard import Guard
from callerid.settings.values import RecordSettings
from callerid.traces.rows import Entry
from callerid.traces.write import Writer

BATCH = 1000  # entries a transaction: pages that many of them touch are written once
BATCH_BYTES = 32 << 20  # of requests and replies: large ones are written as they come
TEND_SECONDS = 0.02  # for what can wait: indexing, deleting; records come first
REST_SECONDS = 0.1  # after that, where there is more of it
IDLE_SECONDS = 5.0  # where there is not
RETRY_SECONDS = 2.0  # after a failure the next batch waits; the source holds meanwhile


class Source(Protocol):
    """Where entries come from, in their order; None is the last."""

    def get(self, timeout: float) -> Entry | None:
        """The next, within some seconds (0: if it is there); raises queue.Empty."""

    def is_full(self) -> bool:
        """Whether so much waits that nothing else should be done now."""


class Scribe:
    """Takes entries from a source and writes them; `done` is told of those that it is done with.

    What cannot be written is dropped, counted and said by the guard; as soon as the file can be
    written again, recording goes on.
    """

    def __init__(
        self, path: Path, writer: Writer, settings: RecordSettings, guard: Guard,
        done: Callable[[list[Entry]], None],
    ) -> None:  # fmt: skip
        self._path = path
        self._writer = writer
        self._flush_seconds = settings.flush_seconds
        self._guard = guard
        self._done = done
        self._is_closing = threading.Event()

    def hurry(self) -> None:
        """Wait for nothing from now on: the last is about to come. Any thread may call this."""
        self._is_closing.set()

    def run(self, source: Source) -> None:
        """Write until the last has come."""
        pause = REST_SECONDS
        while True:
            batch = self._batch(source, pause)
            entries = [entry for entry in batch if entry is not None]
            if entries and (trouble := self._write(entries)):
                self._guard.lost(trouble, len(entries), _ended(entries))
                self._is_closing.wait(RETRY_SECONDS)
            if entries:
                self._done(entries)
            if None in batch:
                break
            if not source.is_full():
                pause = self._tend()
        self._writer.close()

    def _tend(self) -> float:
        """Let the writer do some of what can wait; after how many seconds again, if none comes."""
        with self._guard("tend"):
            if self._writer.tend(TEND_SECONDS, time.time()):
                return REST_SECONDS
        return IDLE_SECONDS

    def _write(self, entries: list[Entry]) -> str:
        """Write some entries; one by one, should one of them spoil the batch."""
        with self._guard("write"):
            return self._writer.write(entries)
        if len(entries) == 1:
            return f"{self._path}: a record could not be written"
        troubles = [(self._write([entry]), entry) for entry in entries]
        lost = [(trouble, entry) for trouble, entry in troubles if trouble]
        if lost:
            gone = _ended(entry for _, entry in lost)
            self._guard.lost(lost[0][0], len(lost), gone)
        return ""

    def _batch(self, source: Source, pause: float) -> list[Entry | None]:
        """The entries of one transaction: those that come within the flush time.

        None of them where none came within the pause.
        """
        try:
            batch = [source.get(pause)]
        except queue.Empty:
            return []
        size = batch[0].size if batch[0] else 0
        deadline = time.monotonic() + self._flush_seconds
        while len(batch) < BATCH and size < BATCH_BYTES and batch[-1] is not None:
            rest = deadline - time.monotonic()
            try:
                entry = source.get(0 if rest <= 0 or self._is_closing.is_set() else rest)
            except queue.Empty:
                break
            batch.append(entry)
            size += entry.size if entry else 0
        return batch


def _ended(entries: Iterable[Entry]) -> int:
    """How many entries end a call."""
    return sum(entry.has_ended for entry in entries)
