"""Full-text search over what was said.

The index is SQLite's own (FTS5). It is brought up to date when somebody searches, in pieces between
which a proxy can write.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import EVERYTHING, Filter, NotFound
from callerid.traces import searching

SNIPPET_WORDS = 24
PAUSE_SECONDS = 0.15  # for a proxy that waits to write: it asks ten times a second


class Hit(msgspec.Struct, frozen=True):
    """A message that was found, and the call that first brought it.

    `snippet` marks what was found by `mark` on both sides.
    """

    session_id: str
    call_id: str
    role: str
    agent: str
    started_at: float
    snippet: str


_HITS = """
with found as materialized (
    select searched.message_id, rank,
        snippet(messages_fts, 0, :mark, :mark, '…', :words) as snippet
    from messages_fts join searched on searched.rowid = messages_fts.rowid
    where messages_fts match :words_wanted
)
select calls.session_id, calls.id as call_id, messages.role, coalesce(agents.name, '') as agent,
    min(calls.started_at) as started_at, found.snippet
from found
join messages on messages.id = found.message_id
join call_messages on call_messages.message_id = found.message_id
join calls on calls.id = call_messages.call_id
left join sessions on sessions.id = calls.session_id
left join agents on agents.id = sessions.agent_id
where calls.session_id is not null and {where}
group by calls.session_id, messages.role, messages.text
order by found.rank, started_at desc
limit :limit
"""
_PARTS = ("agent", "client")
_WHERE = {
    "agent": "coalesce(agents.name, '') like :agent",
    "client": "coalesce(sessions.client_name, '') like :client",
    "since": "calls.started_at >= :since",
    "root": "sessions.root_session_id = :root",
}


def search(
    database: Database, words: str, which: Filter = EVERYTHING, limit: int = 20, mark: str = "\x01",
    *, reads_only: bool = False,
) -> Iterator[Hit]:  # fmt: skip
    """The messages that hold some words, the best first; raises NotFound where there is no word.

    Words are looked for as they stand, all of them, in any order; "in quotes" as a phrase; the last
    one may be the beginning of a word. Who only reads searches what is indexed.
    """
    if not reads_only:
        bring_up_to_date(database)
    said = {name: value for name, value in which._asdict().items() if value not in ("", None)}
    where = [clause for name, clause in _WHERE.items() if name in said]
    values = {
        **{name: f"%{value}%" if name in _PARTS else value for name, value in said.items()},
        "mark": mark, "words": SNIPPET_WORDS, "words_wanted": wanted(words), "limit": limit,
    }  # fmt: skip
    for row in database.query(_HITS.format(where=" and ".join(where) or "true"), values):
        yield msgspec.convert(row, Hit)


def bring_up_to_date(database: Database) -> None:
    """Index all that is not yet."""
    while searching.index(database):
        time.sleep(PAUSE_SECONDS)


def wanted(words: str) -> str:
    """What people type as FTS5 takes it: every word quoted, so that none is an operator."""
    pieces = words.split('"')
    found = []
    for at, piece in enumerate(pieces):
        phrases = [piece] if at % 2 else piece.split()
        found += [f'"{phrase}"' for phrase in phrases if phrase.strip()]
    if not found:
        raise NotFound(f"expected words to search for, got {words!r}")
    if not words.endswith('"'):
        found[-1] += "*"
    return " ".join(found)
