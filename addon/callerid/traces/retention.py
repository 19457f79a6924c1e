"""Deletes the sessions that are too old, or too many for the disk, a few calls at a time."""

from __future__ import annotations

from sqlite_utils import Database

from callerid.settings.values import RecordSettings
from callerid.traces.deleting import delete_some

_DAY, _HOUR = 86400.0, 3600.0
_FOREVER = float("inf")
PAGES_AT_ONCE = 100  # given back to the disk: some milliseconds
PAGES_KEPT = 100  # free ones, for what is written next
_INCREMENTAL = 2  # what pragma auto_vacuum says of a file that can give pages back

_SILENT = """
select id from sessions where last_seen < ?
    and id not in (select session_id from calls where state = 'in_flight' and session_id not null)
order by last_seen limit 1
"""
_OF_NONE = """
select min(started_at) from calls where session_id is null and started_at < ?
    and state != 'in_flight'
"""


class Retention:
    """What the settings let stay."""

    def __init__(self, settings: RecordSettings) -> None:
        self._seconds = settings.keep_days * _DAY
        self._bytes = settings.keep_bytes

    def step(self, database: Database, now: float) -> bool:
        """Delete a little of what may not stay; whether there may be more. Raises sqlite3.Error."""
        if self._seconds and self._delete(database, now - self._seconds):
            return True
        if self._bytes and used_bytes(database) > self._bytes and self._delete(database, _FOREVER):
            return True
        return bool(self._seconds or self._bytes) and give_back(database)

    def _delete(self, database: Database, before: float) -> bool:
        """Delete some calls of the session silent for longest; False where there is none."""
        found = database.conn.execute(_SILENT, [before]).fetchone()
        if found is not None:
            delete_some(database.conn, found[0], _FOREVER)
            return True
        (oldest,) = database.conn.execute(_OF_NONE, [before]).fetchone()
        if oldest is None:
            return False
        delete_some(database.conn, None, min(before, oldest + _HOUR))
        return True


def used_bytes(database: Database) -> int:
    """How many bytes of a file hold something."""
    pages, free, size = (
        _pragma(database, name) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def give_back(database: Database, kept: int = PAGES_KEPT) -> bool:
    """Give some free pages back to the disk; whether there are more.

    Files of versions before this one have to be told once, with no proxy running:
    `sqlite3 traces.db 'pragma auto_vacuum = incremental; vacuum'`.
    """
    free = _pragma(database, "freelist_count") - kept
    if free <= 0 or _pragma(database, "auto_vacuum") != _INCREMENTAL:
        return False
    # It gives a page back with each row of no columns, of which `execute` takes one in Python 3.11.
    database.conn.executescript(f"pragma incremental_vacuum({min(free, PAGES_AT_ONCE)})")
    return free > PAGES_AT_ONCE


def _pragma(database: Database, name: str) -> int:
    return int(database.conn.execute(f"pragma {name}").fetchone()[0])
