"""Who writes into a traces.db: which proxies live, and what those left behind that do not.

A writer holds a lock on a file of its own beside traces.db (`traces.db-writer-ID`, empty) for as
long as its process lives; the system gives it back however that ends. So a call that is in flight
on record has been broken off if the lock of its writer is free.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import ExitStack
from pathlib import Path

from sqlite_utils import Database

_GONE = "the proxy went away"
_IN_FLIGHT = "select distinct writer_id from calls where state = 'in_flight' and writer_id not null"
_INTERRUPT = """
update calls set state = 'interrupted', error_message = ?, reply_exactness = 'absent'
where state = 'in_flight' and writer_id = ?
"""


class Writing:
    """Says that this process writes into a traces.db, until it is over or the process is."""

    def __init__(self, path: Path) -> None:
        self.id = secrets.token_hex(4)
        self._path = _lock_of(path, self.id)
        self._lock: sqlite3.Connection | None = None

    def begin(self) -> None:
        """Hold the lock, should we not do so; raises OSError and sqlite3.Error."""
        if self._lock is not None and self._path.exists():
            return
        self.end()
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = _locked(self._path)

    def end(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            self._path.unlink(missing_ok=True)


def mark_interrupted(database: Database, path: Path) -> int:
    """Mark the calls that were in flight when their proxy went away; how many there were.

    Those of proxies that live are left alone.
    """
    marked = 0
    for (writer_id,) in database.conn.execute(_IN_FLIGHT).fetchall():
        if not _lives(_lock_of(path, writer_id)):
            with database.conn:
                marked += database.conn.execute(_INTERRUPT, (_GONE, writer_id)).rowcount
    _sweep(path)
    return marked


def _sweep(path: Path) -> None:
    """Remove the locks that proxies left behind."""
    for lock in path.parent.glob(f"{path.name}-writer-*"):
        if not _lives(lock):
            lock.unlink(missing_ok=True)


def _lock_of(path: Path, writer_id: str) -> Path:
    return path.with_name(f"{path.name}-writer-{writer_id}")


def _lives(lock: Path) -> bool:
    """Whether somebody holds a lock. SQLite's own locks are taken, which every system has."""
    if not lock.exists():
        return False
    try:
        _locked(lock).close()
    except sqlite3.Error:
        return True
    return False


def _locked(lock: Path) -> sqlite3.Connection:
    # The thread that gives it back may be another.
    connection = sqlite3.connect(lock, timeout=0, isolation_level=None, check_same_thread=False)
    with ExitStack() as undo:
        undo.callback(connection.close)
        connection.execute("pragma journal_mode = memory")  # no file beside it
        connection.execute("begin exclusive")
        undo.pop_all()
    return connection
