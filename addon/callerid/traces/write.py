"""Writes entries into traces.db in batches; the file may vanish and come back."""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace
from sqlite_utils import Database

from callerid.prices import Prices, sale, used
from callerid.traces import rows
from callerid.traces.database import BadDatabase, open_database
from callerid.traces.rows import Entry, Row, Said, State
from callerid.turn import Message

KNOWN = 20_000  # ids of messages, and sessions' newest calls, that need not be looked up again
REMEMBERED_BYTES = 16 << 20  # of messages as sent, twice: what is stored again and again


class Writer:
    """Writes batches of entries into one file, which may vanish and come back."""

    def __init__(self, path: Path, prices: Prices) -> None:
        self._path = path
        self._prices = prices
        self._database: Database | None = None
        self._file = (0, 0)
        self._messages: OrderedDict[str, None] = OrderedDict()
        self._ids = _Ids()
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
        self._ids = _Ids()
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
        entry = self._priced(entry)
        if entry.id not in self._begun:
            self._begin(database, entry, hidden)
        else:
            _update(database, "calls", entry.id, rows.outcome_row(entry))
        if entry.state is State.IN_FLIGHT:
            return
        self._begun.discard(entry.id)
        if entry.reply is not None:
            ids = self._store(database, entry.reply.messages, hidden)
            self._refer(database, entry.id, ids, 0, is_reply=True)
        if entry.identity is not None:
            heard: Row = {"last_seen": entry.timing.ended or entry.timing.started}
            _update(database, "sessions", entry.identity.session_id, heard)

    def _begin(self, database: Database, entry: Entry, hidden: tuple[str, ...]) -> None:
        ids = self._store(database, entry.call.messages, hidden)
        prompts = (
            rows.prompt(entry.call.system_raw, entry.call.system, hidden),
            rows.prompt(entry.call.tools_raw, "", hidden),
        )
        self._insert_new(database, [kept for kept in prompts if kept is not None])
        identity = entry.identity
        base, length = None, 0
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

    def _priced(self, entry: Entry) -> Entry:
        usage = used(entry.call, entry.reply)
        if usage.total_input_tokens is None:
            return entry
        sold = sale(entry.provider, entry.request, entry.call, entry.reply)
        cost = self._prices.cost(sold, usage, entry.timing.started)
        return replace(entry, cost_usd=cost)

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

    def _store(
        self, database: Database, messages: Iterable[Message], hidden: tuple[str, ...]
    ) -> list[str]:
        """Store the messages that are not there yet; the ids of all of them."""
        said = [self._stored(message, hidden) for message in messages]
        self._insert_new(database, said)
        return [each.id for each in said]

    def _stored(self, message: Message, hidden: tuple[str, ...]) -> Said:
        """The id of a message, and its row where the id had to be made: hashing costs."""
        known = self._ids.get(message, hidden)
        if known:
            return Said(known, {})
        made = rows.stored_message(message, hidden)
        self._ids.keep(message, hidden, made.id)
        return made

    def _insert_new(self, database: Database, said: Iterable[Said]) -> None:
        new = {each.id: each.row for each in said if each.row and each.id not in self._messages}
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


class _Ids:
    """The ids of the messages stored lately, found by the message itself.

    A history comes again with every call, and nearly all of it as the same objects (wire/messages).
    """

    def __init__(self) -> None:
        self._size = 0
        self._young: dict[int, tuple[Message, tuple[str, ...], str]] = {}
        self._old: dict[int, tuple[Message, tuple[str, ...], str]] = {}

    def get(self, message: Message, hidden: tuple[str, ...]) -> str:
        """The id of a message without what was hidden; "" where it is not known."""
        at = id(message)
        kept = self._young.get(at) or self._old.get(at)
        return kept[2] if kept and kept[0] is message and kept[1] == hidden else ""

    def keep(self, message: Message, hidden: tuple[str, ...], id_: str) -> None:
        """Remember the id of a message, and the message with it."""
        self._size += len(message.raw)
        if self._size > REMEMBERED_BYTES:
            self._old, self._young, self._size = self._young, {}, len(message.raw)
        self._young[id(message)] = message, hidden, id_


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
