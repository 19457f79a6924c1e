"""Keeps the full-text index of what was said up to date, a bounded piece at a time."""

from __future__ import annotations

from sqlite_utils import Database

AT_ONCE = 2000  # messages: some tens of milliseconds

_NEWEST = "select coalesce(max(rowid), 0) from messages"
_UNTIL = "select cast(value as integer) from facts where name = 'searched_until'"
_KEEP = "insert or replace into facts (name, value) values ('searched_until', ?)"
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
    (newest,) = connection.execute(_NEWEST).fetchone()
    (until,) = connection.execute(_UNTIL).fetchone() or (0,)
    if until > newest:
        until = 0  # somebody vacuumed the file, and the rows have other numbers
    if until == newest:
        return False
    with connection:
        (last,) = connection.execute("select coalesce(max(rowid), 0) from searched").fetchone()
        connection.execute(_TAKE, [until, until + most])
        connection.execute(_INDEX, [last])
        connection.execute(_KEEP, [until + most if until + most < newest else newest])
    return bool(until + most < newest)
