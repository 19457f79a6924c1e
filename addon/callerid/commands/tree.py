"""The session tree, to look at in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import NamedTuple

from rich.text import Text
from rich.tree import Tree
from sqlite_utils import Database

_SESSIONS = """
select sessions.id, sessions.parent_session_id, sessions.relation, sessions.because,
    sessions.confidence, sessions.evidence, agents.name as agent, sessions.client_name as client,
    count(calls.id) as calls, sum(calls.state not in ('ok', 'in_flight')) as failures,
    group_concat(distinct coalesce(calls.response_model, calls.request_model)) as models,
    sum(calls.total_input_tokens) as input_tokens,
    sum(calls.total_output_tokens) as output_tokens,
    sum(calls.cost_usd) as cost_usd, count(calls.cost_usd) as priced,
    sum(calls.cost_usd is null and calls.total_input_tokens is not null) as unpriced,
    max(coalesce(calls.ended_at, calls.started_at)) - min(calls.started_at) as seconds
from sessions
left join agents on agents.id = sessions.agent_id
left join calls on calls.session_id = sessions.id
where sessions.last_seen >= :since
group by sessions.id
order by sessions.first_seen
"""


class Cost(NamedTuple):
    """US dollars at list prices, and how many calls there are whose price nobody knows."""

    usd: float = 0.0
    unpriced: int = 0
    priced: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.usd + other.usd, self.unpriced + other.unpriced, self.priced + other.priced
        )

    def __str__(self) -> str:
        if not self.priced:
            return "cost unknown"
        dollars = f"${self.usd:,.2f}" if self.usd >= 1 else f"${self.usd:.4f}"
        return (
            f"{dollars} and {_counted(self.unpriced, 'call')} unknown" if self.unpriced else dollars
        )


class Branch(NamedTuple):
    """A session with what is told of it, and the sessions that came from it."""

    id: str
    parent_id: str
    relation: str
    because: str
    confidence: float
    evidence: str
    agent: str
    calls: int
    failures: int
    models: str
    tokens: str
    seconds: float
    cost: Cost


def branches(database: Database, since: float = 0.0) -> list[Branch]:
    """The sessions heard of since a time, the oldest first."""
    return [
        Branch(
            row["id"],
            row["parent_session_id"] or "",
            row["relation"] or "",
            row["because"],
            row["confidence"],
            row["evidence"],
            row["agent"] or row["client"] or "",
            row["calls"],
            row["failures"] or 0,
            row["models"] or "",
            _tokens(row["input_tokens"], row["output_tokens"]),
            row["seconds"] or 0.0,
            Cost(row["cost_usd"] or 0.0, row["unpriced"] or 0, row["priced"]),
        )
        for row in database.query(_SESSIONS, {"since": since})
    ]


def draw(sessions: Iterable[Branch]) -> Tree:
    """The sessions as a tree: roots, and below each the sessions that came from it.

    A session that others came from is told with what it cost with them.
    """
    ordered = list(_parents_first(list(sessions)))
    whole = _costs_with_children(ordered)
    costs = [whole[session.id] for session in ordered if session.parent_id not in whole]
    cost = reduce(Cost.plus, costs, Cost())
    tree = Tree(f"{_counted(len(ordered), 'session')} · {cost}", guide_style="dim")
    nodes: dict[str, Tree] = {}
    for session in ordered:
        above = nodes.get(session.parent_id, tree)
        nodes[session.id] = above.add(_label(session, whole[session.id]))
    return tree


def _costs_with_children(parents_first: list[Branch]) -> dict[str, Cost]:
    whole = {session.id: session.cost for session in parents_first}
    for session in reversed(parents_first):
        if session.parent_id in whole:
            whole[session.parent_id] = whole[session.parent_id].plus(whole[session.id])
    return whole


def _parents_first(sessions: list[Branch]) -> Iterator[Branch]:
    children: dict[str, list[Branch]] = {}
    known = {session.id for session in sessions}
    for session in sessions:
        above = session.parent_id if session.parent_id in known else ""
        children.setdefault(above, []).append(session)
    waiting = list(reversed(children.get("", [])))
    while waiting:
        session = waiting.pop()
        yield session
        waiting += reversed(children.get(session.id, []))


def _label(session: Branch, whole: Cost) -> Text:
    label = Text(session.id, style="bold")
    relation = f" · {session.relation}" if session.relation else ""
    failures = f", {session.failures} failed" if session.failures else ""
    label.append(f" · {session.agent}{relation}", style="cyan")
    calls = _counted(session.calls, "call")
    took = _duration(session.seconds)
    cost = str(session.cost) + (f" ({whole} with its own)" if whole != session.cost else "")
    label.append(f" · {calls}{failures} · {session.models} · {session.tokens} · {cost} · {took}\n")
    label.append(f"{session.because} {session.confidence:.2f}: {session.evidence}", style="dim")
    return label


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _duration(seconds: float) -> str:
    """From the first call to the end of the last."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _tokens(given: int | None, taken: int | None) -> str:
    if given is None and taken is None:
        return "tokens unknown"
    return f"{given or 0:,} → {taken or 0:,} tokens"
