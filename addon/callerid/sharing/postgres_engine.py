"""PostgreSQL as the engine: for teams that have one already, and do not need the fastest."""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callerid.sharing.beside import Beside
from callerid.sharing.engine import NAMES_OUTLIVE, SECONDS_TO_WAIT, Away, Found, Write, most_owners

if TYPE_CHECKING:
    import psycopg

REST_SECONDS = 1.0  # between two attempts to connect
SWEEP_EVERY = 500  # puts
SWEPT = 1000  # rows at once

_SCHEMA = """
create table if not exists callerid_sessions (
    id text primary key, version integer not null, head bytea not null,
    expires timestamptz not null
);
create table if not exists callerid_entries (
    session_id text not null, number integer not null, entry bytea not null,
    primary key (session_id, number)
);
create table if not exists callerid_names (
    name bytea not null, session_id text not null, since timestamptz not null default now(),
    expires timestamptz not null, primary key (name, session_id)
);
create table if not exists callerid_claims (
    key text primary key, value bytea not null, expires timestamptz
);
create index if not exists callerid_sessions_by_end on callerid_sessions (expires);
create index if not exists callerid_names_by_end on callerid_names (expires);
"""
_LOCK = 0x63616C6C  # of those who make the tables at the same moment

_LOOK = """
with asked as (
    select session_id as id from callerid_names where name = any(%(names)s) and expires > now()
    union select unnest(%(ids)s::text[])
), known as (
    select * from unnest(%(known)s::text[], %(versions)s::integer[]) as known (id, version)
), there as (
    select s.id, s.version, s.head,
        case when coalesce(known.version, 0) > s.version then 0
            else coalesce(known.version, 0) end as since
    from asked join callerid_sessions s using (id) left join known using (id)
    where s.expires > now()
)
select id, version, since, head, array(
    select entry from callerid_entries e
    where e.session_id = there.id and e.number >= there.since and e.number < there.version
    order by number
) from there where since < version
"""
_NAMES = """
insert into callerid_names (name, session_id, expires)
select unnest(%s::bytea[]), %s, now() + make_interval(secs => %s)
on conflict (name, session_id) do update set expires = excluded.expires
"""
_CROWDED = """
delete from callerid_names n using (
    select name, session_id, row_number() over (partition by name order by since desc) as place
    from callerid_names where name = any(%s)
) ranked
where n.name = ranked.name and n.session_id = ranked.session_id and place > %s
"""


class PostgresEngine:
    """An engine in a database of PostgreSQL, by psycopg; raises ValueError for a bad address."""

    def __init__(self, address: str) -> None:
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise ValueError("psycopg is not installed: pip install 'callerid[postgres]'") from None
        try:
            parts = conninfo_to_dict(address)
        except psycopg.Error as error:
            raise ValueError(f"expected postgresql://HOST/DATABASE ({error})") from None
        where = ":".join(str(parts[name]) for name in ("host", "port") if parts.get(name))
        database = parts.get("dbname") or "its default database"
        self.place = f"PostgreSQL at {where or 'this machine'}, {database}"
        self._psycopg = psycopg
        self._address = address
        self._beside = Beside((psycopg.Error, OSError, Away))
        self._connection: psycopg.Connection[Any] | None = None
        self._tried = float("-inf")
        self._puts = 0

    async def open(self) -> None:
        """Connect, and make the tables; raises Away."""
        await self._beside.do(self._connected)

    def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> Future[list[Found]]:
        """The sessions that go by some names or ids."""
        asked = {
            "names": list(names), "ids": list(ids),
            "known": list(known), "versions": list(known.values()),
        }  # fmt: skip
        return self._beside.do(
            lambda: [Found(*row) for row in self._connected().execute(_LOOK, asked)]
        )

    def put(self, writes: Sequence[Write]) -> Future[bool]:
        """Keep all of this, or nothing."""
        return self._beside.do(lambda: self._put(writes))

    def claim(self, key: str, value: bytes, seconds: float) -> Future[bytes]:
        """What stands at a key: this value if nothing does."""
        return self._beside.do(lambda: self._claim(key, value, seconds))

    def drop(self, ids: Sequence[str]) -> Future[None]:
        """Forget some sessions; what is left of them goes when one of these ids is used again."""
        gone = "delete from callerid_sessions where id = any(%s)"
        return self._beside.do(lambda: _nothing(self._connected().execute(gone, (list(ids),))))

    def close(self) -> None:
        """Close the connection."""
        self._beside.close(self._close)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            if time.monotonic() - self._tried < REST_SECONDS:
                raise Away("it was not there a moment ago")
            self._tried = time.monotonic()
            made = self._psycopg.connect(
                self._address, autocommit=True, connect_timeout=round(SECONDS_TO_WAIT),
                prepare_threshold=1,
            )  # fmt: skip
            made.execute(f"set statement_timeout = {round(SECONDS_TO_WAIT * 1000)}".encode())
            with made.transaction():
                made.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
                made.execute(_SCHEMA)
            self._connection = made
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _put(self, writes: Sequence[Write]) -> bool:
        connection = self._connected()
        self._puts += 1
        try:
            with connection.transaction():
                for one in sorted(writes, key=lambda one: one.id):  # or two would block each other
                    self._step(connection, one)
        except _Newer:
            return False
        if self._puts % SWEEP_EVERY == 0:
            _sweep(connection)
        return True

    def _step(self, connection: psycopg.Connection[Any], one: Write) -> None:
        """Bring a session to its next version; raises _Newer."""
        ask, values = connection.execute, {"id": one.id, "head": one.head, "version": one.version}
        values["seconds"] = one.seconds
        if one.version:
            changed = ask(
                "update callerid_sessions set version = version + 1, head = %(head)s,"
                " expires = now() + make_interval(secs => %(seconds)s)"
                " where id = %(id)s and version = %(version)s and expires > now()", values,
            )  # fmt: skip
        else:
            ask("delete from callerid_sessions where id = %s and expires <= now()", (one.id,))
            changed = ask(
                "insert into callerid_sessions values (%(id)s, 1, %(head)s,"
                " now() + make_interval(secs => %(seconds)s)) on conflict do nothing", values,
            )  # fmt: skip
        if not changed.rowcount:
            raise _Newer
        if not one.version:
            ask("delete from callerid_entries where session_id = %s", (one.id,))
        entry = "insert into callerid_entries values (%s, %s, %s)"
        ask(entry, (one.id, one.version, one.entry))
        if one.names:
            names = sorted(set(one.names))
            ask(_NAMES, (names, one.id, NAMES_OUTLIVE * one.seconds))
            for most in {most_owners(name) for name in names}:
                ask(_CROWDED, ([name for name in names if most_owners(name) == most], most))
        if one.gone:
            gone = "delete from callerid_names where session_id = %s and name = any(%s)"
            ask(gone, (one.id, list(one.gone)))

    def _claim(self, key: str, value: bytes, seconds: float) -> bytes:
        connection = self._connected()
        with connection.transaction():
            connection.execute("delete from callerid_claims where expires < now()")
            row = connection.execute(
                "insert into callerid_claims values (%(key)s, %(value)s, case when %(seconds)s > 0"
                " then now() + make_interval(secs => %(seconds)s) end)"
                " on conflict (key) do update set expires = excluded.expires returning value",
                {"key": key, "value": value, "seconds": seconds},
            ).fetchone()
        assert row is not None
        return bytes(row[0])


class _Newer(Exception):
    """Somebody else was quicker."""


def _sweep(connection: psycopg.Connection[Any]) -> None:
    """Delete some of what nobody can find any more."""
    connection.execute(
        "delete from callerid_names where ctid = any(array(select ctid from callerid_names"
        " where expires < now() limit %s))", (SWEPT,),
    )  # fmt: skip
    connection.execute(
        "with gone as (delete from callerid_sessions where ctid = any(array(select ctid from"
        " callerid_sessions where expires < now() limit %s)) returning id)"
        " delete from callerid_entries using gone where session_id = gone.id", (SWEPT,),
    )  # fmt: skip


def _nothing(_: object) -> None:
    """What comes of a statement that nobody asks about."""
