"""Deletes calls with all that only they needed; what others build on stays with those.

Proxies that write are told (facts.deletions), and forget what they knew to be stored.
"""

from __future__ import annotations

import sqlite3

from callerid.wire import wirejson

AT_ONCE = 20  # calls in one transaction: some milliseconds

_NEWEST = """
select id from calls where session_id is ? and started_at < ?
order by started_at desc, id desc limit ?
"""
_HEIRS = """
select heir.id, heir.base_length, base.id, base.base_call_id, base.base_length
from calls as base join calls as heir on heir.base_call_id = base.id
where base.id in (select value from json_each(:ids))
    and heir.id not in (select value from json_each(:ids))
"""
_INHERIT = """
insert or ignore into call_messages (call_id, is_reply, position, message_id)
select ?, 0, position, message_id from call_messages
where call_id = ? and is_reply = 0 and position < ?
"""
_REFERRED = """
select message_id from call_messages where call_id in (select value from json_each(:ids))
union select system_message_id from calls where id in (select value from json_each(:ids))
union select tools_message_id from calls where id in (select value from json_each(:ids))
"""
_AGENTS = """
select agent_id, system_message_id from agents join (
    select distinct agent_id from calls where id in (select value from json_each(:ids))
) on agent_id = agents.id
"""
_DELETE = (
    *(f"delete from {table} where call_id in (select value from json_each(:ids))"
      for table in ("call_messages", "tool_calls", "reply_bodies")),
    "delete from calls where id in (select value from json_each(:ids))",
)  # fmt: skip
_DELETE_AGENTS = """
delete from agents where id in (select value from json_each(:ids))
    and not exists (select 1 from calls where agent_id = agents.id)
    and not exists (select 1 from sessions where agent_id = agents.id)
"""
_PARTS = """
select listed.value from messages join json_each(messages.parts) as listed
where messages.id in (select value from json_each(:ids)) and messages.parts is not null
"""
_DELETE_UNUSED = """
delete from messages where id in (select value from json_each(:ids))
    and not exists (select 1 from call_messages where message_id = messages.id)
    and not exists (select 1 from calls where system_message_id = messages.id)
    and not exists (select 1 from calls where tools_message_id = messages.id)
    and not exists (select 1 from agents where system_message_id = messages.id)
"""
# The full-text index needs not look at all messages again: it knows which are new (searching.py).
_TELL = (
    """
    update facts set value = min(value, (select coalesce(max(rowid), 0) from messages))
    where name = 'searched_until'
    """,
    """
    update facts set value = value + 1 where name = 'searched_deletions'
        and value = (select value from facts where name = 'deletions')
    """,
    "update facts set value = value + 1 where name = 'deletions'",
)
_DELETE_PARTS = """
delete from messages where id in (
    select value from json_each(:ids) except
    select listed.value from messages as whole join json_each(whole.parts) as listed
    where whole.parts is not null
)
"""


def delete_some(
    connection: sqlite3.Connection, session_id: str | None, before: float, most: int = AT_ONCE
) -> bool:
    """Delete the newest calls of a session that began before a time; whether that was all of it.

    Of calls of no session (None) likewise. In a transaction of its own; raises sqlite3.Error.
    """
    with connection:
        connection.execute("begin immediate")
        ids = [id for (id,) in connection.execute(_NEWEST, [session_id, before, most])]
        named = {"ids": _json(ids)}
        agents = connection.execute(_AGENTS, named).fetchall()
        if len(ids) < most and session_id is not None:
            own = "select agent_id, agents.system_message_id from sessions join agents"
            own += " on agents.id = agent_id where sessions.id = ?"
            agents += connection.execute(own, [session_id]).fetchall()
            connection.execute(
                "delete from sessions where id = ?"
                " and not exists (select 1 from calls where session_id = sessions.id"
                " and started_at >= ?)",
                [session_id, before],
            )
        _delete(connection, ids, agents)
    return len(ids) < most


def _delete(
    connection: sqlite3.Connection, ids: list[str], agents: list[tuple[str, str | None]]
) -> None:
    named = {"ids": _json(ids)}
    _rebase(connection, named)
    referred = [id for (id,) in connection.execute(_REFERRED, named) if id]
    for statement in _DELETE:
        connection.execute(statement, named)
    connection.execute(_DELETE_AGENTS, {"ids": _json([id for id, _ in agents])})
    named = {"ids": _json([*referred, *(prompt for _, prompt in agents if prompt)])}
    parts = [id for (id,) in connection.execute(_PARTS, named)]
    connection.execute(_DELETE_UNUSED, named)
    if parts:
        connection.execute(_DELETE_PARTS, {"ids": _json(parts)})
    for statement in _TELL:
        connection.execute(statement)


def _rebase(connection: sqlite3.Connection, named: dict[str, str]) -> None:
    """Let calls that build on these have the messages themselves, or of whom these build on."""
    while heirs := connection.execute(_HEIRS, named).fetchall():
        for heir, length, base, further, further_length in heirs:
            connection.execute(_INHERIT, [heir, base, length])
            left = min(length, further_length) if further else 0
            connection.execute(
                "update calls set base_call_id = ?, base_length = ? where id = ?",
                [further, left, heir],
            )


def _json(ids: list[str]) -> str:
    return wirejson.encode(ids).decode()
