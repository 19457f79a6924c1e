"""Opens traces.db for one request, and only to read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

BUSY_SECONDS = 5.0  # a writer may be at it


class NoRecord(LookupError):
    """There is no traces.db that could be read; the message says why."""


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """The traces, as they are now; nothing can be written into them. Raises NoRecord."""
    if not path.exists():
        raise NoRecord(f"{path}: nothing is on record yet")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )  # a stream of events may be closed by another thread than opened it
    except sqlite3.Error as error:
        raise NoRecord(f"{path}: cannot be read: {error}") from None
    with closing(connection):
        try:
            connection.execute("pragma query_only = on")
            yield Database(connection)
        except sqlite3.DatabaseError as error:
            raise NoRecord(f"{path}: cannot be read: {error}") from None
