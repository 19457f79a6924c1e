"""The rows of one transaction, collected table by table and written by few statements.

They are written out in SQL: sqlite-utils asks for the schema before every row, and takes seven
times as long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

from callerid.traces.rows import Row, storable

_REPLY = "insert or replace into reply_bodies (call_id, is_against_messages, body) values (?, ?, ?)"
_TOOL_CALL = (
    "insert or replace into tool_calls (call_id, position, name, tool_call_id) values (?, ?, ?, ?)"
)
_REFERENCE = (
    "insert or replace into call_messages (call_id, is_reply, position, message_id)"
    " values (?, ?, ?, ?)"
)


class Batch:
    """Rows that wait for the end of their transaction."""

    def __init__(self) -> None:
        self.said: list[Row] = []
        self.agents: list[Row] = []
        self.sessions: list[Row] = []
        self.calls: dict[str, Row] = {}
        self.replies: list[tuple[str, bool, bytes]] = []
        self.tool_calls: list[tuple[str, int, str, str]] = []
        self._changes: dict[str, Row] = {}
        self._references: list[tuple[str, int, int, str]] = []
        self._heard: dict[str, dict[str, float]] = {"agents": {}, "sessions": {}}

    def change(self, call_id: str, changes: Row) -> None:
        """Change columns of a call, which may be of this batch."""
        row = self.calls.get(call_id)
        if row is None:
            row = self._changes.setdefault(call_id, {"id": call_id})
        row.update(changes)

    def refer(self, call_id: str, ids: list[str], start: int, *, is_reply: bool) -> None:
        """Let a call or its reply refer to messages, from a place on."""
        self._references += [(call_id, int(is_reply), at, ids[at]) for at in range(start, len(ids))]

    def hear(self, table: str, id: str, at: float | None) -> None:
        """Note when an agent or a session was last heard of."""
        heard = self._heard[table]
        heard[id] = max(at or 0.0, heard.get(id, 0.0))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all of it into the transaction that is open."""
        _insert(connection, "messages", self.said, "ignore")
        _insert(connection, "agents", self.agents, "ignore")
        _insert(connection, "sessions", self.sessions, "ignore")
        _insert(connection, "calls", list(self.calls.values()), "replace")
        connection.executemany(_REFERENCE, self._references)
        _update(connection, self._changes.values())
        connection.executemany(_REPLY, self.replies)
        connection.executemany(_TOOL_CALL, self.tool_calls)
        for table, heard in self._heard.items():
            statement = f"update {table} set last_seen = ? where id = ? and last_seen < ?"
            connection.executemany(statement, [(at, id, at) for id, at in heard.items()])


def _insert(connection: sqlite3.Connection, table: str, rows: list[Row], on_conflict: str) -> None:
    if rows:
        _execute(connection, _inserting(table, tuple(rows[0]), on_conflict), rows)


def _update(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    for columns, alike in groupby(sorted(rows, key=len), key=tuple):
        _execute(connection, _updating(columns), list(alike))


@lru_cache
def _inserting(table: str, columns: tuple[str, ...], on_conflict: str) -> str:
    values = ", ".join("?" * len(columns))
    return f"insert or {on_conflict} into {table} ({', '.join(columns)}) values ({values})"


@lru_cache
def _updating(columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = ?{at}" for at, name in enumerate(columns, 1))
    return f"update calls set {changes} where id = ?1"


def _execute(connection: sqlite3.Connection, statement: str, rows: list[Row]) -> None:
    """Write rows of the same columns; they may hold what SQLite does not take, which is rare."""
    try:
        connection.executemany(statement, [tuple(row.values()) for row in rows])
    except (UnicodeEncodeError, OverflowError):
        connection.executemany(statement, [tuple(storable(row).values()) for row in rows])
