"""Writes entries into traces.db in batches; the file may vanish and come back."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import OrderedDict
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace
from sqlite_utils import Database

from callerid.prices import Prices, sale, used
from callerid.settings.values import RecordSettings
from callerid.traces import exactly, rows, searching
from callerid.traces.batch import Batch
from callerid.traces.database import BadDatabase, open_database
from callerid.traces.discretion import Discretion
from callerid.traces.retention import Retention
from callerid.traces.rows import Entry, Row, State
from callerid.traces.said import SYSTEM, TOOLS, Shelf
from callerid.traces.writers import Writing
from callerid.turn import Identity, Kind

KNOWN = 20_000  # sessions' newest calls, and sessions and agents that are there for certain
# Ids are hashes and lie anywhere in their index: with the 2 MiB that SQLite takes by itself, a file
# of a gigabyte is read from as much as it is written to. Pages that are written again and again are
# copied out of the log once in so many.
CACHE_KIB = 32 << 10
CHECKPOINT_PAGES = 4000
INDEXED_AT_ONCE = 200  # messages: a few milliseconds
Key = TypeVar("Key")
Value = TypeVar("Value")


class Writer:
    """Writes batches of entries into one file, which may vanish and come back."""

    def __init__(
        self, path: Path, prices: Prices, discretion: Discretion | None = None,
        settings: RecordSettings | None = None,
    ) -> None:  # fmt: skip
        self._retention = Retention(settings or RecordSettings())
        self._path = path
        self._prices = prices
        self._discretion = discretion or Discretion()
        self._writing = Writing(path)
        self._database: Database | None = None
        self._file = (0, 0)
        self._forget()

    def write(self, entries: list[Entry]) -> str:
        """Write some entries in one transaction; the trouble in words, where there was any."""
        try:
            database = self._open()
            with database.conn:
                database.conn.execute("begin immediate")
                self._heed_deletions(database)
                batch = Batch()
                for entry in entries:
                    self._take(batch, entry)
                batch.said = self._shelf.take_new()
                batch.write(database.conn)
        except BadDatabase as error:  # it names the file
            self._let_go()
            return str(error)
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            return f"{self._path}: {error}"
        except BaseException:
            self._let_go()
            raise
        return ""

    def tend(self, seconds: float, now: float) -> bool:
        """Do some of what can wait, for about so many seconds; whether there is more.

        What is new is indexed for search, what may not stay is deleted. Where another has the file
        it waits for the next time.
        """
        until = time.monotonic() + seconds
        try:
            if self._database is None and not self._path.exists():
                return False
            database = self._open()
            while time.monotonic() < until:
                if not (
                    searching.index(database, INDEXED_AT_ONCE)
                    or self._retention.step(database, now)
                ):
                    return False
        except (sqlite3.Error, OSError, BadDatabase):
            return False
        return True

    def close(self) -> None:
        """Close the file, and say that this writer is done."""
        self._let_go()
        self._writing.end()

    def _open(self) -> Database:
        if self._database is not None and self._file != _identity(self._path):
            self._let_go()  # deleted, or replaced by another
        if self._database is None:
            self._database = open_database(self._path)
            self._database.execute(f"pragma cache_size = -{CACHE_KIB}")
            self._database.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._file = _identity(self._path)
        self._writing.begin()
        return self._database

    def _let_go(self) -> None:
        """Close the file, and forget what was known of it."""
        if self._database is not None:
            self._database.conn.close()
        self._database = None
        self._forget()

    def _forget(self) -> None:
        self._shelf = Shelf()
        self._deletions: object = None
        self._corrections: object = None
        self._newest: OrderedDict[tuple[str, bool], tuple[str, list[str]]] = OrderedDict()
        self._met: OrderedDict[str, None] = OrderedDict()
        self._begun: dict[str, tuple[str, ...]] = {}  # what must not be written down of each call
        self._deleted: set[str] = set()  # calls under way that are on record no more

    def _heed_deletions(self, database: Database) -> None:
        """Forget what is stored, if something was deleted since the last time.

        Where a person corrected something, only sessions may be gone: no message, and no call.
        """
        query = "select name, value from facts where name in ('deletions', 'corrections')"
        facts = dict(database.conn.execute(query).fetchall())
        if facts["deletions"] != self._deletions:
            begun, deleted = self._begun, self._deleted
            self._forget()
            self._deletions = facts["deletions"]
            for id, hidden in begun.items():
                if database.conn.execute("select 1 from calls where id = ?", [id]).fetchone():
                    self._begun[id] = hidden
                else:
                    deleted.add(id)
            self._deleted = deleted
        if facts.get("corrections") != self._corrections:
            self._met.clear()
            self._corrections = facts.get("corrections")

    def _take(self, batch: Batch, entry: Entry) -> None:
        if entry.id in self._deleted:
            self._deleted.discard(entry.id)
            return
        if entry.state is not State.IN_FLIGHT:
            entry = priced(entry, self._prices)
        hidden = self._begun.get(entry.id)
        is_new = hidden is None and not self._is_there(entry)
        if hidden is None:
            hidden = self._begun[entry.id] = rows.secrets_of(entry)
        entry, is_whole = self._discretion.answered(entry)
        if is_new:
            self._begin(batch, entry, hidden)
        else:
            batch.change(entry.id, rows.outcome_row(entry, hidden))
        if entry.state is State.IN_FLIGHT:
            return
        self._begun.pop(entry.id, None)
        is_as_sent = True
        if entry.reply is not None:
            batch.tool_calls += rows.tool_calls(entry.id, entry.reply, hidden)
            ids, is_as_sent = self._shelf.messages(entry.reply.messages, hidden)
            batch.refer(entry.id, ids, 0, is_reply=True)
        kept = exactly.reply(entry, hidden, is_as_sent=is_as_sent and is_whole)
        batch.change(entry.id, {"reply_exactness": kept.exactness.value})
        if kept.body is not None:
            batch.replies.append((entry.id, kept.is_against_messages, kept.body))
        if entry.identity is not None:
            batch.hear("sessions", entry.identity.session_id, entry.timing.ended)

    def _is_there(self, entry: Entry) -> bool:
        """Whether the beginning of a call that has ended is on record, though not known here.

        So it is after a batch that could not be written, and after a change of settings.
        """
        if entry.state is State.IN_FLIGHT or self._database is None:
            return False
        query = "select 1 from calls where id = ?"
        return self._database.conn.execute(query, [entry.id]).fetchone() is not None

    def _begin(self, batch: Batch, entry: Entry, hidden: tuple[str, ...]) -> None:
        entry, is_whole = self._discretion.asked(entry)
        call, identity = entry.call, entry.identity
        ids, is_as_sent = self._shelf.messages(call.messages, hidden)
        system = self._shelf.prompt(SYSTEM, call.system_raw, call.system, hidden)
        tools = self._shelf.prompt(TOOLS, call.tools_raw, "", hidden)
        base, length = None, 0
        if identity is not None:
            self._meet(batch, entry, identity, system.id if system else None)
            base, length = self._base(entry.id, identity, ids)
        is_as_sent = is_as_sent and all(kept.is_as_sent for kept in (system, tools) if kept)
        stored: Row = {
            "system_message_id": system.id if system else None,
            "tools_message_id": tools.id if tools else None,
            "base_call_id": base,
            "base_length": length,
            "writer_id": self._writing.id,
            "reply_exactness": None,
            **self._discretion.row(
                exactly.request(entry, hidden, is_as_sent=is_as_sent), is_whole=is_whole
            ),
        }
        batch.calls[entry.id] = rows.call_row(entry, hidden, stored)
        batch.refer(entry.id, ids, length, is_reply=False)

    def _meet(
        self, batch: Batch, entry: Entry, identity: Identity, system_message_id: str | None
    ) -> None:
        """Write down the agent and the session of a call, and that they were heard of."""
        began = entry.timing.started
        if identity.agent_id not in self._met:
            batch.agents.append(rows.agent_row(entry, identity, system_message_id))
        if identity.session_id not in self._met:
            batch.sessions.append(rows.session_row(entry, identity))
        for table, id in (("agents", identity.agent_id), ("sessions", identity.session_id)):
            batch.hear(table, id, began)
            _remember(self._met, id, None)

    def _base(self, call_id: str, identity: Identity, ids: list[str]) -> tuple[str | None, int]:
        """The call whose messages this one's begin with, and how many they share."""
        is_main = identity.kind is Kind.MAIN
        session_id, parent_id = identity.session_id, identity.parent_session_id
        best: tuple[str | None, int] = None, 0
        for key in ((session_id, is_main), (session_id, True), (parent_id, True)):
            base_id, base_ids = self._newest.get(key, ("", []))
            length = _shared(ids, base_ids)
            if length > best[1]:
                best = base_id, length
        _remember(self._newest, (session_id, is_main), (call_id, ids))
        return best


def priced(entry: Entry, prices: Prices) -> Entry:
    """A call that has ended with what it cost, where its tokens were counted."""
    usage = used(entry.call, entry.reply)
    if usage.total_input_tokens is None:
        return entry
    sold = sale(entry.provider, entry.request, entry.call, entry.reply)
    return replace(entry, cost_usd=prices.cost(sold, usage, entry.timing.started))


def _shared(ids: list[str], others: list[str]) -> int:
    """How many ids two lists begin with together."""
    most = min(len(ids), len(others))
    if ids[:most] == others[:most]:
        return most
    return next(at for at in range(most) if ids[at] != others[at])


def _remember(known: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > KNOWN:
        known.popitem(last=False)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
