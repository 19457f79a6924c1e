"""Rebuilds what was said on record: messages, and the bodies of requests and replies."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from callerid.traces import database as traces
from callerid.traces.database import messages_of, own_messages_of


class Body(NamedTuple):
    """A body on record, and how it compares with the one that passed."""

    content: bytes | None
    exactness: str


def reply_messages_of(database: Database, call_id: str) -> list[bytes]:
    """The messages of a recorded reply, as JSON of its dialect."""
    return traces._bodies(database, traces._REPLY, call_id)


def request_body(database: Database, call_id: str) -> Body:
    """The body of a recorded request; raises NotJSON."""
    (row,) = database.query("select * from calls where id = ?", [call_id])
    return Body(traces.request_body(database, row, messages_of(database, call_id)), "equal")


__all__ = ["messages_of", "own_messages_of", "reply_messages_of", "request_body"]
