"""Writes traces.db: one thread, in batches, behind a bounded queue that drops but never waits."""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from pathlib import Path

from sqlite_utils import Database

from callerid.guard import Guard
from callerid.traces import rows
from callerid.traces.database import BadDatabase, open_database
from callerid.traces.rows import Entry, Row, State

log = logging.getLogger(__name__)

BATCH = 200  # rows a transaction: sqlite-utils is as fast from 10 on; a crash costs less than 1000
KNOWN = 20_000  # ids of messages, and sessions' newest calls, that need not be looked up again
RETRY_SECONDS = 2.0  # after a failure the next batch waits; the queue holds meanwhile


class Recorder:
    """Takes entries from the proxy's loop without waiting, and writes them in a thread of its own.

    What cannot be written is dropped, counted and said by the guard; as soon as the file can be
    written again, recording goes on.
    """

    def __init__(self, path: Path, queue_size: int, flush_seconds: float, guard: Guard) -> None:
        self.path = path
        self._queue: queue.Queue[Entry | None] = queue.Queue(queue_size)
        self._flush_seconds = flush_seconds
        self._guard = guard
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callerid-record", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> bool:
        """Take an entry; False (and one dropped) where the queue is full."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            return False
        return True

    @property
    def depth(self) -> int:
        """How many entries wait."""
        return self._queue.qsize()

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
        writer = Writer(self.path)
        while batch := self._batch():
            entries = [entry for entry in batch if entry is not None]
            if entries and (trouble := self._write(writer, entries)):
                self._guard.note("dropped", trouble, len(entries))
                self._is_closing.wait(RETRY_SECONDS)
            if None in batch or (self._is_closing.is_set() and self._queue.empty()):
                break
        writer.close()

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

    def _batch(self) -> list[Entry | None]:
        """The entries of one transaction: those that come within the flush time, at least one."""
        batch = [self._queue.get()]
        deadline = time.monotonic() + self._flush_seconds
        while len(batch) < BATCH and batch[-1] is not None:
            rest = deadline - time.monotonic()
            try:
                at_once = rest <= 0 or self._is_closing.is_set()
                batch.append(self._queue.get(block=not at_once, timeout=max(rest, 0.001)))
            except queue.Empty:
                break
        return batch


class Writer:
    """Writes batches of entries into one file, which may vanish and come back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Database | None = None
        self._file = (0, 0)
        self._messages: OrderedDict[str, None] = OrderedDict()
        self._newest: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()
        self._begun: set[str] = set()

    def write(self, entries: list[Entry]) -> str:
        """Write some entries in one transaction; the trouble in words, where there was any."""
        try:
            database = self._open()
            with database.conn:
                for entry in entries:
                    self._write(database, entry)
        except (sqlite3.Error, OSError, BadDatabase) as error:
            self.close()
            return f"{self._path}: {error}"
        except BaseException:
            self.close()
            raise
        return ""

    def close(self) -> None:
        """Close the file, and forget what was known of it."""
        if self._database is not None:
            self._database.conn.close()
        self._database = None
        self._messages.clear()
        self._newest.clear()
        self._begun.clear()

    def _open(self) -> Database:
        if self._database is not None and self._file != _identity(self._path):
            self.close()  # deleted, or replaced by another
        if self._database is None:
            self._database = open_database(self._path)
            self._file = _identity(self._path)
        return self._database

    def _write(self, database: Database, entry: Entry) -> None:
        hidden = rows.secrets_of(entry)
        if entry.id not in self._begun:
            self._begin(database, entry, hidden)
        else:
            _update(database, "calls", entry.id, rows.outcome_row(entry))
        if entry.state is State.IN_FLIGHT:
            return
        self._begun.discard(entry.id)
        if entry.reply is not None:
            said = rows.messages(entry.reply.messages, hidden)
            self._store(database, [message.row for message in said])
            self._refer(database, entry.id, [message.id for message in said], 0, is_reply=True)
        if entry.identity is not None:
            heard: Row = {"last_seen": entry.timing.ended or entry.timing.started}
            _update(database, "sessions", entry.identity.session_id, heard)

    def _begin(self, database: Database, entry: Entry, hidden: tuple[str, ...]) -> None:
        said = rows.messages(entry.call.messages, hidden)
        prompts = (
            rows.prompt(entry.call.system_raw, entry.call.system, hidden),
            rows.prompt(entry.call.tools_raw, "", hidden),
        )
        self._store(database, [kept.row for kept in (*said, *prompts) if kept is not None])
        identity = entry.identity
        base, length = None, 0
        ids = [message.id for message in said]
        if identity is not None:
            self._meet(database, "agents", rows.agent_row(entry, identity))
            self._meet(database, "sessions", rows.session_row(entry, identity))
            base, length = self._base(identity.session_id, identity.parent_session_id, ids)
        _insert(database, "calls", [rows.call_row(entry, base, length)], "replace")
        self._refer(database, entry.id, ids, length, is_reply=False)
        self._begun.add(entry.id)
        if identity is not None:
            self._newest[identity.session_id] = entry.id, ids
            self._newest.move_to_end(identity.session_id)
            if len(self._newest) > KNOWN:
                self._newest.popitem(last=False)

    def _base(self, session_id: str, parent_id: str, ids: list[str]) -> tuple[str | None, int]:
        """The call whose messages this one's begin with, and how many they share."""
        base_id, base_ids = (
            self._newest.get(session_id) or self._newest.get(parent_id) or (None, [])
        )
        length = 0
        for one, other in zip(ids, base_ids, strict=False):
            if one != other:
                break
            length += 1
        return (base_id, length) if length else (None, 0)

    def _meet(self, database: Database, table: str, row: Row) -> None:
        _insert(database, table, [row], "ignore")
        _update(database, table, str(row["id"]), {"last_seen": row["last_seen"]})

    def _store(self, database: Database, messages: list[Row]) -> None:
        new = {str(row["id"]): row for row in messages if row["id"] not in self._messages}
        _insert(database, "messages", list(new.values()), "ignore")
        for id in new:
            self._messages[id] = None
            if len(self._messages) > KNOWN:
                self._messages.popitem(last=False)

    def _refer(
        self, database: Database, call_id: str, ids: list[str], start: int, *, is_reply: bool
    ) -> None:
        references: list[Row] = [
            {"call_id": call_id, "is_reply": is_reply, "position": at, "message_id": ids[at]}
            for at in range(start, len(ids))
        ]
        _insert(database, "call_messages", references, "replace")


# Written out: sqlite-utils asks for the schema before every row, and takes seven times as long.


def _insert(database: Database, table: str, rows: list[Row], on_conflict: str) -> None:
    if rows:
        names = ", ".join(rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        statement = f"insert or {on_conflict} into {table} ({names}) values ({values})"
        database.conn.executemany(statement, rows)


def _update(database: Database, table: str, id: str, row: Row) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in row)
    database.conn.execute(f"update {table} set {changes} where id = :id", {**row, "id": id})


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
