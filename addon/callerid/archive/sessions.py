"""Sessions on record, with what their calls come to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from callerid import figures

TITLE_CHARACTERS = 100
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class NotFound(LookupError):
    """What was asked for is not on record, or more than one fits; the message says which."""


class Several(NotFound):
    """More than one fits what was asked for; the message names some."""


class BadTime(ValueError):
    """A time that cannot be read; the message says how they are written."""


class Cost(msgspec.Struct, frozen=True):
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
        dollars = figures.dollars(self.usd)
        unknown = f"{self.unpriced} call{'s' * (self.unpriced != 1)} unknown"
        return f"{dollars} and {unknown}" if self.unpriced else dollars


class SessionFacts(msgspec.Struct, frozen=True):
    """A session with what its calls come to; times are seconds since the epoch, None is unknown.

    `name` is the one that a person gave it, "" where nobody did; `title` are the first words of its
    first user message. `failures` are calls that were not answered as they should have been.
    """

    id: str
    root_session_id: str
    parent_session_id: str
    relation: str
    agent_id: str
    agent: str
    client: str
    because: str
    confidence: float
    evidence: str
    calls: int
    under_way: int
    failures: int
    models: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cost: Cost
    first_seen: float
    last_seen: float
    seconds: float
    title: str
    name: str = ""

    @property
    def status(self) -> str:
        """How it stands: in_flight, failed (its last call, or all of them), or ok."""
        if self.under_way:
            return "in_flight"
        return "failed" if self.failures else "ok"


class Filter(NamedTuple):
    """Which sessions are meant; "" and None are all.

    `agent`, `client` and `model` are parts of names. `since` is in seconds since the epoch, `usd`
    the least that a session cost.
    """

    agent: str = ""
    client: str = ""
    model: str = ""
    root: str = ""
    session: str = ""
    since: float | None = None
    status: str = ""
    usd: float | None = None
    agent_id: str = ""


EVERYTHING = Filter()
_SESSIONS = """
with chosen as materialized (
    select sessions.id from sessions left join agents on agents.id = sessions.agent_id
    where {where} order by sessions.last_seen desc limit {at_first}
)
select sessions.id, sessions.given_name as name, sessions.root_session_id,
    sessions.parent_session_id,
    sessions.relation, sessions.agent_id, sessions.because, sessions.confidence, sessions.evidence,
    agents.name as agent, sessions.client_name as client, count(calls.id) as calls,
    sum(calls.state = 'in_flight') as under_way,
    sum(calls.state not in ('ok', 'in_flight', 'blocked')) as failures,
    json_group_array(distinct coalesce(calls.response_model, calls.request_model)) as models,
    sum(calls.total_input_tokens) as input_tokens, sum(calls.total_output_tokens) as output_tokens,
    sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
    sum(calls.cost_usd) as usd, count(calls.cost_usd) as priced,
    sum(calls.cost_usd is null and calls.total_input_tokens is not null) as unpriced,
    sessions.first_seen, sessions.last_seen,
    max(coalesce(calls.ended_at, calls.started_at)) - min(calls.started_at) as seconds,
    (select messages.text from calls as opening
        join call_messages on call_messages.call_id = opening.id and not is_reply
        join messages on messages.id = message_id
        where opening.session_id = sessions.id and messages.role = 'user'
            and messages.text is not null
        order by opening.started_at, position limit 1) as title
from chosen join sessions on sessions.id = chosen.id
left join agents on agents.id = sessions.agent_id
left join calls on calls.session_id = sessions.id
group by sessions.id
having {having}
order by sessions.last_seen desc
limit :limit
"""
_WHERE = {
    "agent": "coalesce(agents.name, '') like :agent",
    "agent_id": "sessions.agent_id = :agent_id",
    "client": "coalesce(sessions.client_name, '') like :client",
    "root": "sessions.root_session_id = :root",
    "session": "sessions.id = :session",
    "since": "sessions.last_seen >= :since",
}
_HAVING = {
    "model": "models like :model",
    "usd": "usd >= :usd",
}
_STATUS = {
    "ok": "not failures and not under_way",
    "failed": "failures and not under_way",
    "in_flight": "under_way",
}
STATUSES = tuple(_STATUS)


def sessions(
    database: Database, which: Filter = EVERYTHING, limit: int = -1
) -> Iterator[SessionFacts]:
    """The sessions that are meant, the one heard of last first; a limit below 0 is none."""
    said = {name: value for name, value in which._asdict().items() if value not in ("", None)}
    where = [clause for name, clause in _WHERE.items() if name in said]
    having = [clause for name, clause in _HAVING.items() if name in said]
    if which.status:
        having.append(_STATUS[which.status])
    query = _SESSIONS.format(
        where=" and ".join(where) or "true",
        having=" and ".join(having) or "true",
        at_first=-1 if having else ":limit",  # sums are made of no more than are asked for
    )
    for name in ("agent", "client", "model"):
        if name in said:
            said[name] = f"%{said[name]}%"
    for row in database.query(query, {**said, "limit": limit}):
        yield _facts(row)


def _facts(row: dict[str, object]) -> SessionFacts:
    cost = Cost(row.pop("usd") or 0.0, row.pop("unpriced") or 0, row.pop("priced"))  # type: ignore[arg-type]
    models = msgspec.json.decode(str(row.pop("models")), type=list[str | None])
    title = " ".join(str(row["title"] or "").split())
    counted = {name: row[name] or 0 for name in ("under_way", "failures", "seconds")}
    named = ("name", "parent_session_id", "relation", "agent_id", "agent", "client")
    texts = {name: row[name] or "" for name in named}
    known = tuple(sorted(filter(None, models)))
    fields = {
        **row, **texts, **counted, "cost": cost, "models": known, "title": shortened(title)
    }  # fmt: skip
    return SessionFacts(**fields)  # type: ignore[arg-type]


def shortened(text: str) -> str:
    """A text, cut where a title ends."""
    return text if len(text) <= TITLE_CHARACTERS else text[: TITLE_CHARACTERS - 1] + "…"


def parents_first(found: Iterable[SessionFacts]) -> list[SessionFacts]:
    """Sessions so that each comes after its parent, and the children of one together, by age."""
    found = sorted(found, key=lambda session: session.first_seen)
    known = {session.id for session in found}
    children: dict[str, list[SessionFacts]] = {}
    for session in found:
        above = session.parent_session_id if session.parent_session_id in known else ""
        children.setdefault(above, []).append(session)
    ordered: list[SessionFacts] = []
    waiting = children.get("", [])[::-1]
    while waiting:
        session = waiting.pop()
        ordered.append(session)
        waiting += children.get(session.id, [])[::-1]
    return ordered


def costs_with_children(ordered: list[SessionFacts]) -> dict[str, Cost]:
    """What each session cost with all that came from it; parents come first in `ordered`."""
    whole = {session.id: session.cost for session in ordered}
    for session in reversed(ordered):
        above = session.parent_session_id
        if above in whole and above != session.id:
            whole[above] = whole[above].plus(whole[session.id])
    return whole


def session_id(database: Database, wanted: str) -> str:
    """The id of the session that is meant by an id or its beginning; raises NotFound."""
    return _meant(database, "sessions", wanted)


def call_id(database: Database, wanted: str) -> str:
    """The id of the call that is meant by an id or its beginning; raises NotFound."""
    return _meant(database, "calls", wanted)


def session_or_call(database: Database, wanted: str) -> tuple[str, str]:
    """The ids of the session or the call that is meant, "" for the other; raises NotFound."""
    try:
        return session_id(database, wanted), ""
    except NotFound as no_session:
        try:
            return "", call_id(database, wanted)
        except Several:
            raise
        except NotFound:
            if isinstance(no_session, Several):
                raise no_session from None
            raise NotFound(f"{no_session}, nor a call of this name") from None


def _meant(database: Database, table: str, wanted: str) -> str:
    noun = table.removesuffix("s")
    exact = list(database.query(f"select id from {table} where id = ?", [wanted]))
    # A range, not `like`: that would read the whole table, and take % and _ for signs.
    begin = [wanted, wanted + "\U0010ffff"]
    query = f"select id from {table} where id >= ? and id < ? order by id limit 4"
    found = exact or (list(database.query(query, begin)) if wanted else [])
    if len(found) == 1:
        return str(found[0]["id"])
    names = ", ".join(str(row["id"]) for row in found[:3])
    if found:
        raise Several(f"several {table} begin with {wanted!r}: {names}")
    raise NotFound(f"there is no {noun} {wanted!r}")


def moment(text: str, now: float) -> float:
    """A time as people write it, in seconds since the epoch: 90s, 30m, 2h, 7d, or a date.

    Raises BadTime.
    """
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip()):
        return now - float(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise BadTime(
            f"expected how long ago (90s, 30m, 2h, 7d) or a date (2026-11-21, 2026-11-21T12:30), "
            f"got {text!r}"
        ) from None
