"""Tells browsers that something was recorded, by server-sent events."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from callerid.explorer.record import NoRecord, opened

POLL_SECONDS = 0.4
BEAT_SECONDS = 15.0  # a comment so often: a browser that has gone is noticed then
MOST_LISTENERS = 24
FULL_MILLISECONDS = 30_000  # when a browser that found no place asks again

_ALL = """
select (select coalesce(max(rowid), 0) from calls) as calls,
    (select count(*) from calls where state = 'in_flight') as under_way
"""
_SCOPED = """
select count(*) as calls, coalesce(sum(state = 'in_flight'), 0) as under_way
from calls where session_id in (
    select id from sessions where root_session_id = :run or id = :session
)
"""


class Live:
    """Watches a traces.db for whoever listens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = threading.Event()
        self._free = threading.BoundedSemaphore(MOST_LISTENERS)

    def close(self) -> None:
        """End all streams."""
        self._closed.set()

    def listen(self, run: str = "", session: str = "") -> Iterator[bytes]:
        """The events of everything, a run, or a session; none where too many listen already."""
        if not self._free.acquire(blocking=False):
            yield f"retry: {FULL_MILLISECONDS}\n\n".encode()
            return
        try:
            yield b"retry: 3000\n\n"
            with opened(self._path) as database:
                yield from self._changes(database, {"run": run, "session": session})
        except NoRecord:
            return  # the browser asks again by itself
        finally:
            self._free.release()

    def _changes(self, database: Database, scope: dict[str, str]) -> Iterator[bytes]:
        version, told = -1, _state(database, scope)
        beaten = time.monotonic()
        yield _event(told)
        while not self._closed.wait(POLL_SECONDS):
            ((now,),) = database.execute("pragma data_version").fetchall()
            if now != version:
                version, state = now, _state(database, scope)
                if state != told:
                    told = state
                    yield _event(state)
                    continue
            if time.monotonic() - beaten > BEAT_SECONDS:
                beaten = time.monotonic()
                yield b": still here\n\n"


def _state(database: Database, scope: dict[str, str]) -> dict[str, int]:
    try:
        query = _SCOPED if any(scope.values()) else _ALL
        (row,) = database.query(query, scope)
        return {name: int(str(value)) for name, value in row.items()}
    except sqlite3.DatabaseError as error:
        raise NoRecord(str(error)) from None


def _event(state: dict[str, int]) -> bytes:
    return f"event: record\ndata: {json.dumps(state)}\n\n".encode()
