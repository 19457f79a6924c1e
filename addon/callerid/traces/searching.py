"""Keeps the full-text index of what was said up to date, a bounded piece at a time."""

from __future__ import annotations

from sqlite_utils import Database

AT_ONCE = 2000  # messages, and
CHARACTERS_AT_ONCE = 1 << 20  # of theirs: some tens of milliseconds, in which nobody else can write

_FACTS = """
select coalesce(max(case name when 'searched_until' then cast(value as integer) end), 0),
    coalesce(max(case name when 'searched_deletions' then cast(value as integer) end), 0),
    coalesce(max(case name when 'deletions' then cast(value as integer) end), 0)
from facts
"""
_NEXT = "select rowid, length(text) from messages where rowid > ? order by rowid limit ?"
_KEEP = "insert or replace into facts (name, value) values (?, ?)"
_TAKE = """
insert or ignore into searched (message_id)
select id from messages where rowid > ? and rowid <= ? and text is not null
"""
_INDEX = """
insert into messages_fts (rowid, text) select rowid, text from searchable where rowid > ?
"""


def index(database: Database, most: int = AT_ONCE) -> bool:
    """Index some of the messages that are not yet; whether there may be more."""
    connection = database.conn
    (newest,) = connection.execute("select coalesce(max(rowid), 0) from messages").fetchone()
    until, heeded, deletions = connection.execute(_FACTS).fetchone()
    if until > newest or heeded != deletions:
        until = 0  # after deletions, or a vacuum, messages have numbers that others had
    elif until == newest:
        return False
    upto = _upto(connection.execute(_NEXT, [until, most]).fetchall(), until)
    with connection:
        (last,) = connection.execute("select coalesce(max(rowid), 0) from searched").fetchone()
        connection.execute(_TAKE, [until, upto])
        connection.execute(_INDEX, [last])
        connection.execute(_KEEP, ["searched_until", upto])
        connection.execute(_KEEP, ["searched_deletions", deletions])
    return bool(upto < newest)


def _upto(sizes: list[tuple[int, int | None]], until: int) -> int:
    """Up to which message one piece goes: so many characters, or one message."""
    taken = 0
    for number, length in sizes:
        if taken and taken + (length or 0) > CHARACTERS_AT_ONCE:
            return until
        until, taken = number, taken + (length or 0)
    return until
