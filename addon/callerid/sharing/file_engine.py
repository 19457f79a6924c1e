"""A SQLite file as the engine: for the proxies of one machine, and for one that starts again."""

from __future__ import annotations

import os
import sqlite3
import time
from asyncio import Future
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from callerid.sharing.beside import Beside
from callerid.sharing.engine import NAMES_OUTLIVE, Found, Write, most_owners

SWEEP_EVERY = 500  # puts
SWEPT = 1000  # rows at once, of what has outlived itself
BUSY_SECONDS = 2.0

_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists shared_sessions (
    id text primary key, version integer not null, head blob not null, expires real not null
) without rowid;
create table if not exists shared_entries (
    session_id text not null, number integer not null, entry blob not null,
    primary key (session_id, number)
) without rowid;
create table if not exists shared_names (
    name blob not null, session_id text not null, since real not null, expires real not null,
    primary key (name, session_id)
) without rowid;
create table if not exists shared_claims (
    key text primary key, value blob not null, expires real
) without rowid;
create index if not exists shared_sessions_by_end on shared_sessions (expires);
create index if not exists shared_names_by_end on shared_names (expires);
"""


class FileEngine:
    """An engine in a SQLite file (mode 0600 where it makes it)."""

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._beside = Beside((sqlite3.Error, OSError))
        self._connection: sqlite3.Connection | None = None
        self._puts = 0

    async def open(self) -> None:
        """Open the file; raises Away."""
        await self._beside.do(self._connected)

    def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> Future[list[Found]]:
        """The sessions that go by some names or ids."""
        return self._beside.do(lambda: self._look(names, ids, known))

    def put(self, writes: Sequence[Write]) -> Future[bool]:
        """Keep all of this, or nothing."""
        return self._beside.do(lambda: self._put(writes))

    def claim(self, key: str, value: bytes, seconds: float) -> Future[bytes]:
        """What stands at a key: this value if nothing does."""
        return self._beside.do(lambda: self._claim(key, value, seconds))

    def drop(self, ids: Sequence[str]) -> Future[None]:
        """Forget some sessions."""
        return self._beside.do(lambda: self._drop(ids))

    def close(self) -> None:
        """Close the file."""
        self._beside.close(self._close)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            made = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            made.executescript(_SCHEMA)
            self._connection = made
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(
        self, names: Iterable[bytes], ids: Iterable[str], known: Mapping[str, int]
    ) -> list[Found]:
        ask, now = self._connected().execute, time.time()
        asked = dict.fromkeys(ids)
        for name in names:
            query = (
                "select session_id from shared_names where name = ? and expires > ? order by since"
            )
            asked |= dict.fromkeys(id for (id,) in ask(query, (name, now)))
        found = []
        for id in asked:
            query = "select version, head from shared_sessions where id = ? and expires > ?"
            row = ask(query, (id, now)).fetchone()
            if row is None:
                continue
            version, head = row
            since = known.get(id, 0) if known.get(id, 0) <= version else 0
            if since < version:
                query = (
                    "select entry from shared_entries where session_id = ? and number >= ?"
                    " order by number limit ?"
                )
                entries = [e for (e,) in ask(query, (id, since, version - since))]
                found.append(Found(id, version, since, head, entries))
        return found

    def _put(self, writes: Sequence[Write]) -> bool:
        connection, now = self._connected(), time.time()
        connection.execute("begin immediate")
        try:
            fits = all(self._version(one.id, now) == one.version for one in writes)
            if fits:
                for one in writes:
                    self._write(one, now)
            connection.execute("commit")
        except BaseException:
            connection.rollback()
            raise
        self._puts += 1
        if self._puts % SWEEP_EVERY == 0:
            self._sweep(now)
        return fits

    def _version(self, id: str, now: float) -> int:
        query = "select version from shared_sessions where id = ? and expires > ?"
        row = self._connected().execute(query, (id, now)).fetchone()
        return int(row[0]) if row else 0

    def _write(self, one: Write, now: float) -> None:
        ask = self._connected().execute
        if not one.version:
            ask("delete from shared_entries where session_id = ?", (one.id,))
        ask(
            "insert or replace into shared_sessions values (?, ?, ?, ?)",
            (one.id, one.version + 1, one.head, now + one.seconds),
        )
        ask("insert into shared_entries values (?, ?, ?)", (one.id, one.version, one.entry))
        expires = now + NAMES_OUTLIVE * one.seconds
        for name in one.names:
            ask(
                "insert into shared_names values (?, ?, ?, ?)"
                " on conflict do update set expires = excluded.expires",
                (name, one.id, now, expires),
            )
            ask(
                "delete from shared_names where name = ? and session_id in (select session_id"
                " from shared_names where name = ? order by since desc limit -1 offset ?)",
                (name, name, most_owners(name)),
            )
        for name in one.gone:
            ask("delete from shared_names where name = ? and session_id = ?", (name, one.id))

    def _claim(self, key: str, value: bytes, seconds: float) -> bytes:
        connection, now = self._connected(), time.time()
        expires = now + seconds if seconds else None
        with connection:
            connection.execute("begin immediate")
            connection.execute("delete from shared_claims where expires < ?", (now,))
            connection.execute(
                "insert into shared_claims values (?, ?, ?)"
                " on conflict do update set expires = excluded.expires",
                (key, value, expires),
            )
            query = "select value from shared_claims where key = ?"
            (found,) = connection.execute(query, (key,)).fetchone()
        return bytes(found)

    def _drop(self, ids: Sequence[str]) -> None:
        connection = self._connected()
        with connection:
            connection.execute("begin immediate")
            for id in ids:
                connection.execute("delete from shared_entries where session_id = ?", (id,))
                connection.execute("delete from shared_sessions where id = ?", (id,))

    def _sweep(self, now: float) -> None:
        """Delete some of what nobody can find any more."""
        connection = self._connected()
        with connection:
            connection.execute("begin immediate")
            connection.execute(
                "delete from shared_names where (name, session_id) in (select name, session_id"
                " from shared_names where expires < ? limit ?)", (now, SWEPT),
            )  # fmt: skip
            query = "select id from shared_sessions where expires < ? limit ?"
            for (id,) in connection.execute(query, (now, SWEPT)).fetchall():
                connection.execute("delete from shared_entries where session_id = ?", (id,))
                connection.execute("delete from shared_sessions where id = ?", (id,))
