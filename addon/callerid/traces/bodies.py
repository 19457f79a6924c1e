"""Rebuilds what was said on record: messages, and the bodies of requests and replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from sqlite_utils import Database

from callerid.traces import folds
from callerid.traces import layout as layouts
from callerid.traces.layout import Value
from callerid.traces.pack import unpacked
from callerid.traces.rows import Exactness
from callerid.turn import HeaderList, Stood
from callerid.wire import wirejson

Row = Mapping[str, object]
REMEMBERED = 64  # system prompts and lists of tools; sessions of an agent share them


class Body(NamedTuple):
    """A body on record, unpacked, and how it compares with the one that passed.

    `content` is None where there is none, or none yet: the state is then ABSENT.
    """

    content: bytes | None
    exactness: Exactness


_ABSENT = Body(None, Exactness.ABSENT)

_COLUMNS = "messages.text, messages.body, messages.folds, messages.parts"
_MESSAGES = f"""
with recursive levels (call_id, length) as (
    select :call_id, 1000000
    union all
    select calls.base_call_id, min(levels.length, calls.base_length)
    from levels join calls on calls.id = levels.call_id
    where calls.base_call_id is not null
)
select {_COLUMNS}
from levels join call_messages on call_messages.call_id = levels.call_id
join messages on messages.id = message_id
where is_reply = 0 and position < levels.length
order by position
"""
_OWN_MESSAGES = f"""
select {_COLUMNS}
from call_messages join messages on messages.id = call_messages.message_id
where call_id = :call_id and is_reply = 0 order by position
"""
_REPLY = f"""
select {_COLUMNS}
from call_messages join messages on messages.id = call_messages.message_id
where call_id = :call_id and is_reply = 1 order by position
"""
_MESSAGE = f"select {_COLUMNS} from messages where id = ?"
_PARTS = f"""
select {_COLUMNS} from json_each(?) as listed join messages on messages.id = listed.value
order by listed.key
"""
_REPLY_BODY = """
select calls.reply_exactness, reply_bodies.body, reply_bodies.is_against_messages
from calls left join reply_bodies on reply_bodies.call_id = calls.id where calls.id = ?
"""


def messages_of(database: Database, call_id: str) -> list[bytes]:
    """All messages of a recorded call, as sent."""
    return _messages(database, _MESSAGES, call_id)


def own_messages_of(database: Database, call_id: str) -> list[bytes]:
    """The messages of a recorded call that come after those of the call it builds on."""
    return _messages(database, _OWN_MESSAGES, call_id)


def reply_messages_of(database: Database, call_id: str) -> list[bytes]:
    """The messages of a recorded reply, as JSON of its dialect."""
    return _messages(database, _REPLY, call_id)


def prompts_of(database: Database) -> Callable[[object], bytes]:
    """Gives system prompts and lists of tools by their ids; those read lately are remembered."""
    return lru_cache(maxsize=REMEMBERED)(partial(message, database))


def message(database: Database, message_id: object) -> bytes:
    """One message, system prompt or list of tools, as sent; b"" where there is none."""
    found = database.conn.execute(_MESSAGE, [message_id]).fetchone()
    return _whole(database, found) if found else b""


def request_body(database: Database, call_id: str) -> Body:
    """The body of a recorded request; raises NotJSON and NotPacked where its record is broken."""
    row = next(iter(database.query("select * from calls where id = ?", [call_id])), None)
    if row is None or row["request_exactness"] == Exactness.ABSENT:
        return _ABSENT
    body = body_with(row, messages_of(database, call_id), partial(message, database))
    if row["request_patch"] is not None:
        body = unpacked(_bytes(row["request_patch"]), body)
    return Body(body, Exactness(str(row["request_exactness"])))


def reply_body(database: Database, call_id: str) -> Body:
    """The body of a recorded reply, streamed ones as they came on the wire; raises NotPacked."""
    found = database.conn.execute(_REPLY_BODY, [call_id]).fetchone()
    if found is None or found[1] is None:
        return _ABSENT
    known = b"".join(reply_messages_of(database, call_id)) if found[2] else b""
    return Body(unpacked(found[1], known), Exactness(found[0]))


def body_with(call: Row, messages: Iterable[bytes], prompt: Callable[[object], bytes]) -> bytes:
    """The body of a recorded call with some messages, put together again in its layout.

    `prompt` gives the system prompt and the tools by their ids. Raises NotJSON.
    """
    kept: dict[bytes, Value] = {
        Stood.MESSAGES: list(messages),
        Stood.SYSTEM: prompt(call["system_message_id"]) or b"null",
        Stood.TOOLS: prompt(call["tools_message_id"]) or b"null",
    }
    members = [(name, raw.encode()) for name, raw in pairs(call["members"])]
    return layouts.built(layouts.filled(members, kept), layouts.read(call["layout"]))


def pairs(written: object) -> HeaderList:
    """Pairs of texts as they are on record; strangers' bytes may be half characters."""
    found = map(wirejson.sequence, wirejson.sequence(wirejson.decode(str(written).encode())))
    return tuple((str(name), str(value)) for name, value in found)


def _messages(database: Database, query: str, call_id: str) -> list[bytes]:
    found = database.conn.execute(query, {"call_id": call_id}).fetchall()
    return [_whole(database, row) for row in found]


def _whole(database: Database, row: tuple[object, ...]) -> bytes:
    """The JSON of a message that is stored folded, packed, or in parts."""
    text, body, folded, parts = row
    raw = unpacked(body) if isinstance(body, bytes) else str(body).encode()
    if parts:
        found = database.conn.execute(_PARTS, [parts]).fetchall()
        items = [_whole(database, part) for part in found]
        before, between, after = wirejson.sequence(wirejson.decode(raw))
        return str(before).encode() + str(between).encode().join(items) + str(after).encode()
    return folds.unfolded(raw, folds.read(folded), str(text)) if folded else raw


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
