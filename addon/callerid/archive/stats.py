"""What all calls on record come to: by session, agent, model and day.

The analytics of shared gateways' guides (most active sessions, durations, response times), asked
of SQL.
"""

from __future__ import annotations

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import Cost


class Share(msgspec.Struct, frozen=True):
    """What one session, agent, model or day comes to; None is unknown."""

    name: str
    sessions: int
    calls: int
    failures: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cost: Cost
    seconds: float | None  # a reply's, on average, from the request to its end
    first_byte_seconds: float | None


class Stats(msgspec.Struct, frozen=True):
    """Everything since a time; the lists are ordered by the number of calls, days by date."""

    whole: Share
    longest_session_seconds: float | None
    average_session_seconds: float | None
    by_session: tuple[Share, ...]
    by_agent: tuple[Share, ...]
    by_client: tuple[Share, ...]
    by_model: tuple[Share, ...]
    by_day: tuple[Share, ...]


_SHARE = """
select {name} as name, count(distinct calls.session_id) as sessions, count(*) as calls,
    coalesce(sum(calls.state not in ('ok', 'in_flight', 'blocked')), 0) as failures,
    sum(calls.total_input_tokens) as input_tokens, sum(calls.total_output_tokens) as output_tokens,
    sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
    sum(calls.cost_usd) as usd, count(calls.cost_usd) as priced,
    sum(calls.cost_usd is null and calls.total_input_tokens is not null) as unpriced,
    avg(case when calls.state = 'ok' then calls.ended_at - calls.started_at end) as seconds,
    avg(calls.first_byte_at - calls.started_at) as first_byte_seconds
from calls
left join sessions on sessions.id = calls.session_id
left join agents on agents.id = calls.agent_id
where calls.started_at >= :since
{group}
"""
_DURATIONS = """
select max(seconds) as longest, avg(seconds) as average from (
    select max(coalesce(ended_at, started_at)) - min(started_at) as seconds
    from calls where session_id is not null and started_at >= :since group by session_id
)
"""
_NAMES = {
    "by_session": "calls.session_id",
    "by_agent": "coalesce(agents.name, 'unknown')",
    "by_client": "coalesce(sessions.client_name, 'unknown')",
    "by_model": "coalesce(calls.response_model, calls.request_model, 'unknown')",
}
_BY_DAY = "date(calls.started_at, 'unixepoch', 'localtime')"


def stats(database: Database, since: float = 0.0, most: int = 10) -> Stats:
    """What the calls since a time (seconds since the epoch) come to; so many of each list."""
    said = {"since": since, "most": most}

    def shares(name: str, order: str) -> tuple[Share, ...]:
        group = f"group by 1 having name is not null order by {order} limit :most"
        rows = database.query(_SHARE.format(name=name, group=group), said)
        return tuple(map(_share, rows))

    (whole,) = database.query(_SHARE.format(name="'all'", group=""), said)
    (durations,) = database.query(_DURATIONS, said)
    lists = {key: shares(name, "calls desc, name") for key, name in _NAMES.items()}
    return Stats(
        whole=_share(whole),
        longest_session_seconds=durations["longest"],
        average_session_seconds=durations["average"],
        by_day=shares(_BY_DAY, "name desc"),
        **lists,
    )


def _share(row: dict[str, object]) -> Share:
    cost = {name: row.pop(name) or 0 for name in ("usd", "priced", "unpriced")}
    return msgspec.convert({**row, "cost": cost}, Share)
