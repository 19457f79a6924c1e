"""Runs on record: a root session with all that came from it, and what they come to together."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import EVERYTHING, Cost, Filter, NotFound, shortened


class RunFacts(msgspec.Struct, frozen=True):
    """A run with what its calls come to; times are seconds since the epoch, None is unknown.

    `id` is that of its root session, which need not be on record itself; `opening_id`, name, agent,
    client, title and evidence are those of its first session. `turns` are main calls.
    """

    id: str
    opening_id: str
    name: str
    agent: str
    client: str
    because: str
    confidence: float
    evidence: str
    title: str
    sessions: int
    subagents: int
    forks: int
    calls: int
    turns: int
    under_way: int
    failures: int
    models: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cost: Cost
    first_seen: float
    last_seen: float

    @property
    def seconds(self) -> float:
        """From the beginning of its first call to the end of its last."""
        return self.last_seen - self.first_seen

    @property
    def status(self) -> str:
        """How it stands: in_flight, failed (one of its calls did), or ok."""
        return "in_flight" if self.under_way else "failed" if self.failures else "ok"


_RUNS = """
with chosen as materialized (
    select root_session_id, max(last_seen) as heard from sessions
    where {where} group by root_session_id order by heard desc limit :limit offset :offset
), counted as (
    select chosen.root_session_id, count(calls.id) as calls,
        sum(calls.kind = 'main') as turns, sum(calls.state = 'in_flight') as under_way,
        sum(calls.state not in ('ok', 'in_flight', 'blocked')) as failures,
        json_group_array(distinct coalesce(calls.response_model, calls.request_model)) as models,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens,
        sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
        sum(calls.cost_usd) as usd, count(calls.cost_usd) as priced,
        sum(calls.cost_usd is null and calls.total_input_tokens is not null) as unpriced,
        min(calls.started_at) as first_seen,
        max(coalesce(calls.ended_at, calls.started_at)) as last_seen
    from chosen join sessions on sessions.root_session_id = chosen.root_session_id
    join calls on calls.session_id = sessions.id group by chosen.root_session_id
), belonging as (
    select chosen.root_session_id, count(*) as sessions,
        sum(relation is 'subagent') as subagents, sum(relation is 'fork') as forks
    from chosen join sessions on sessions.root_session_id = chosen.root_session_id
    group by chosen.root_session_id
)
select chosen.root_session_id as id, opening.id as opening_id,
    coalesce(opening.given_name, '') as name, coalesce(agents.name, '') as agent,
    coalesce(opening.client_name, '') as client, opening.because, opening.confidence,
    opening.evidence, belonging.sessions, belonging.subagents, belonging.forks, counted.*,
    (select messages.text from calls as first
        join call_messages on call_messages.call_id = first.id and not is_reply
        join messages on messages.id = message_id
        where first.session_id = opening.id and messages.role = 'user'
            and messages.text is not null
        order by first.started_at, position limit 1) as title
from chosen
join counted using (root_session_id) join belonging using (root_session_id)
join sessions as opening on opening.id = (
    select id from sessions where root_session_id = chosen.root_session_id
    order by id != root_session_id, first_seen limit 1
)
left join agents on agents.id = opening.agent_id
order by chosen.heard desc
"""
_OF_CALLS = """root_session_id in (
    select sessions.root_session_id from calls join sessions on sessions.id = calls.session_id
    where {condition}
)"""
_FAILED = _OF_CALLS.format(condition="calls.state not in ('ok', 'in_flight', 'blocked')")
_UNDER_WAY = _OF_CALLS.format(condition="calls.state = 'in_flight'")
_STATUS = {
    "ok": f"not {_FAILED} and not {_UNDER_WAY}",
    "failed": f"{_FAILED} and not {_UNDER_WAY}",
    "in_flight": _UNDER_WAY,
}
_WHERE = {
    "agent": """root_session_id in (
        select sessions.root_session_id from sessions join agents on agents.id = agent_id
        where agents.name like :agent
    )""",
    "agent_id": """root_session_id in (
        select root_session_id from sessions where agent_id = :agent_id
    )""",
    "client": """root_session_id in (
        select root_session_id from sessions where client_name like :client
    )""",
    "model": _OF_CALLS.format(
        condition="coalesce(calls.response_model, calls.request_model) like :model"
    ),
    "root": "root_session_id = :root",
    "since": "last_seen >= :since",
    "usd": """root_session_id in (
        select sessions.root_session_id from calls join sessions on sessions.id = calls.session_id
        group by sessions.root_session_id having sum(calls.cost_usd) >= :usd
    )""",
}


def runs(
    database: Database, which: Filter = EVERYTHING, limit: int = -1, offset: int = 0
) -> Iterator[RunFacts]:
    """The runs that are meant, the one heard of last first; a limit below 0 is none.

    A run is meant where one of its sessions or calls is.
    """
    said = {name: value for name, value in which._asdict().items() if value not in ("", None)}
    where = [clause for name, clause in _WHERE.items() if name in said]
    if status := said.pop("status", ""):
        where.append(_STATUS[str(status)])
    for name in ("agent", "client", "model"):
        if name in said:
            said[name] = f"%{said[name]}%"
    query = _RUNS.format(where=" and ".join(where) or "true")
    for row in database.query(query, {**said, "limit": limit, "offset": offset}):
        yield _facts(row)


def run(database: Database, root_id: str) -> RunFacts:
    """One run; raises NotFound."""
    for found in runs(database, Filter(root=root_id), 1):
        return found
    raise NotFound(f"there is no run {root_id!r}")


def _facts(row: dict[str, object]) -> RunFacts:
    cost = Cost(row.pop("usd") or 0.0, row.pop("unpriced") or 0, row.pop("priced"))  # type: ignore[arg-type]
    models = msgspec.json.decode(str(row.pop("models")), type=list[str | None])
    row.pop("root_session_id")
    title = shortened(" ".join(str(row["title"] or "").split()))
    fields = {**row, "title": title, "cost": cost, "models": tuple(sorted(filter(None, models)))}
    return RunFacts(**fields)  # type: ignore[arg-type]
