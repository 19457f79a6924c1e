"""Agents on record: what each comes to, the prompts it was seen with, and the tools it uses."""

from __future__ import annotations

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import NotFound


class AgentFacts(msgspec.Struct, frozen=True):
    """An agent with what its calls come to; times are seconds since the epoch, None is unknown."""

    id: str
    name: str
    sessions: int
    calls: int
    failures: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    usd: float | None
    models: tuple[str, ...]
    tools: tuple[str, ...]
    first_seen: float
    last_seen: float


class Variant(msgspec.Struct, frozen=True):
    """A system prompt that an agent was seen with, and in how many of its calls."""

    message_id: str
    text: str
    calls: int
    sessions: int
    first_seen: float
    last_seen: float


class Used(msgspec.Struct, frozen=True):
    """A tool that an agent has, and how often its model asked for it."""

    name: str
    times: int
    sessions: int


_AGENTS = """
select agent_id as id, agent as name, sessions, calls, coalesce(failed_calls, 0) as failures,
    input_tokens, output_tokens, cache_read_input_tokens, cost_usd as usd, models, tools,
    coalesce(first_seen, 0.0) as first_seen, coalesce(last_seen, 0.0) as last_seen
from agent_summary where {where} order by last_seen desc limit :limit offset :offset
"""
_VARIANTS = """
select calls.system_message_id as message_id, coalesce(prompts.text, '') as text,
    count(*) as calls, count(distinct calls.session_id) as sessions,
    min(calls.started_at) as first_seen, max(calls.started_at) as last_seen
from calls join prompts on prompts.id = calls.system_message_id
where calls.agent_id = :agent group by calls.system_message_id
order by first_seen desc limit :limit
"""
_USED = """
select tool_calls.name, count(*) as times, count(distinct calls.session_id) as sessions
from tool_calls join calls on calls.id = tool_calls.call_id
where calls.agent_id = ? group by tool_calls.name order by times desc, name
"""


def agents(database: Database, limit: int = -1, offset: int = 0) -> list[AgentFacts]:
    """The agents, the one heard of last first; a limit below 0 is none."""
    query = _AGENTS.format(where="true")
    return [_facts(row) for row in database.query(query, {"limit": limit, "offset": offset})]


def agent(database: Database, agent_id: str) -> AgentFacts:
    """One agent; raises NotFound."""
    query = _AGENTS.format(where="agent_id = :id")
    for row in database.query(query, {"id": agent_id, "limit": 1, "offset": 0}):
        return _facts(row)
    raise NotFound(f"there is no agent {agent_id!r}")


def variants(database: Database, agent_id: str, limit: int = 10) -> list[Variant]:
    """The system prompts that an agent was seen with, the newest first."""
    rows = database.query(_VARIANTS, {"agent": agent_id, "limit": limit})
    return [msgspec.convert(row, Variant) for row in rows]


def used(database: Database, found: AgentFacts) -> list[Used]:
    """The tools of an agent, those asked for most often first, those never asked for last."""
    asked = [msgspec.convert(row, Used) for row in database.query(_USED, [found.id])]
    names = {each.name for each in asked}
    return asked + [Used(name, 0, 0) for name in found.tools if name not in names]


def _facts(row: dict[str, object]) -> AgentFacts:
    tools = tuple(msgspec.json.decode(str(row["tools"] or "[]"), type=list[str]))
    models = tuple(sorted(filter(None, str(row["models"] or "").split(","))))
    return msgspec.convert({**row, "tools": tools, "models": models}, AgentFacts)
