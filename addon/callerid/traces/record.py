"""Records in a thread: behind a bounded queue that drops but never waits."""

from __future__ import annotations

import queue
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

from callerid.guard import Guard
from callerid.prices import Prices
from callerid.settings.load import Configuration
from callerid.settings.values import RecordSettings
from callerid.traces.discretion import Discretion, discretion
from callerid.traces.rows import Entry
from callerid.traces.scribe import BATCH, Scribe
from callerid.traces.write import Writer


class Recorder(Protocol):
    """Takes entries from the proxy's loop without waiting, and has them written to `path`.

    It wants the bytes of replies that are no longer than `most_reply_bytes`.
    """

    path: Path
    most_reply_bytes: int

    def put(self, entry: Entry) -> bool:
        """Take an entry; False (and one dropped) where too much waits."""

    @property
    def depth(self) -> int:
        """How many entries wait."""

    def close(self, timeout: float) -> None:
        """Have what waits written, for at most so many seconds, and stop."""


class Room:
    """How much may wait: so many entries, of so many bytes; but one of any size.

    What goes in and what comes out are each counted by one thread only, and so without a lock.
    """

    def __init__(self, settings: RecordSettings) -> None:
        self._most, self._most_bytes = settings.queue_size, settings.queue_bytes
        self._taken = self._finished = self._taken_bytes = self._finished_bytes = 0
        self._ended: deque[str] = deque()  # the id of each in it, "" where its call goes on

    def has(self, size: int) -> bool:
        """Whether there is room for one more, of so many bytes."""
        return self.depth < self._most and (not self.bytes or self.bytes + size <= self._most_bytes)

    def take(self, entry: Entry, size: int) -> None:
        """Let one in, of so many bytes."""
        self._ended.append(entry.id if entry.has_ended else "")
        self._taken += 1
        self._taken_bytes += size

    def give_back(self, entries: int, size: int) -> list[str]:
        """Let the first out, of so many bytes together; the ids of the calls that they end."""
        self._finished += entries
        self._finished_bytes += size
        return [id for _ in range(entries) if (id := self._ended.popleft())]

    @property
    def depth(self) -> int:
        """How many are in it."""
        return self._taken - self._finished

    @property
    def ended(self) -> int:
        """How many of them end a call."""
        return sum(map(bool, list(self._ended)))

    @property
    def bytes(self) -> int:
        """Of how many bytes those are that are in it."""
        return self._taken_bytes - self._finished_bytes


class ThreadRecorder:
    """A Recorder with a thread of its own."""

    def __init__(
        self, path: Path, settings: RecordSettings, guard: Guard, prices: Prices,
        discretion: Discretion | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.most_reply_bytes = settings.reply_bytes
        self._room = Room(settings)
        self._waiting = _Queue()
        self._guard = guard
        writer = Writer(path, prices, discretion, settings)
        self._scribe = Scribe(path, writer, settings, guard, self._finished)
        self._thread = threading.Thread(
            target=self._scribe.run, args=[self._waiting], name="callerid-record", daemon=True
        )
        self._thread.start()

    def put(self, entry: Entry) -> bool:
        """Take an entry; False (and one dropped) where too much waits."""
        if not self._room.has(entry.size):
            return False
        self._room.take(entry, entry.size)
        self._waiting.put(entry)
        return True

    @property
    def depth(self) -> int:
        """How many entries wait."""
        return self._room.depth

    @property
    def thread_id(self) -> int:
        """The thread that writes, to be measured."""
        return self._thread.ident or 0

    def close(self, timeout: float) -> None:
        """Write what waits, for at most so many seconds, and stop."""
        self._waiting.put(None)
        self._scribe.hurry()
        self._thread.join(timeout)
        if self._thread.is_alive():
            words = f"{self.path}: not written in time at the end"
            self._guard.lost(words, self.depth, self._room.ended)

    def _finished(self, entries: list[Entry]) -> None:
        self._room.give_back(len(entries), sum(entry.size for entry in entries))


def in_a_thread(path: Path, configuration: Configuration, guard: Guard) -> ThreadRecorder:
    """A recorder as the settings say, with a thread of its own; raises BadSetting."""
    return ThreadRecorder(
        path, configuration.settings.record, guard, Prices(configuration.prices),
        discretion(configuration, guard),
    )  # fmt: skip


class _Queue:
    """The source of entries that come from another thread of this process."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self.put = self._queue.put

    def get(self, timeout: float) -> Entry | None:
        """The next, within some seconds; raises queue.Empty."""
        return self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()

    def is_full(self) -> bool:
        """Whether there is a whole batch."""
        return self._queue.qsize() >= BATCH
