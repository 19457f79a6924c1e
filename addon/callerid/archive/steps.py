"""From call to call: which comes before and after another, and which tools run in between."""

from __future__ import annotations

import msgspec
from sqlite_utils import Database

_BEFORE = """
select earlier.id from calls as earlier
join calls as this on this.id = ? and earlier.session_id = this.session_id
where earlier.kind = 'main' and earlier.id != this.id
    and (earlier.started_at, earlier.id) < (this.started_at, this.id)
order by earlier.started_at desc, earlier.id desc limit 1
"""
_AFTER = """
select later.id from calls as later
join calls as this on this.id = ? and later.session_id = this.session_id
where later.kind = 'main' and later.id != this.id
    and (later.started_at, later.id) > (this.started_at, this.id)
order by later.started_at, later.id limit 1
"""
_TOOLS = """
select calls.id, json_group_array(tool_calls.name) as names
from sessions join calls on calls.session_id = sessions.id
join tool_calls on tool_calls.call_id = calls.id
where sessions.root_session_id = ? group by calls.id
"""


def before(database: Database, call_id: str) -> str:
    """The main call before a call in its session, "" where it is the first."""
    return next((str(row["id"]) for row in database.query(_BEFORE, [call_id])), "")


def after(database: Database, call_id: str) -> str:
    """The main call after a call in its session, "" where it is the last."""
    return next((str(row["id"]) for row in database.query(_AFTER, [call_id])), "")


def tools_asked(database: Database, root_id: str) -> dict[str, list[str]]:
    """The names of the tools that replies of a run ask for, by call."""
    rows = database.query(_TOOLS, [root_id])
    return {str(row["id"]): msgspec.json.decode(row["names"], type=list[str]) for row in rows}
