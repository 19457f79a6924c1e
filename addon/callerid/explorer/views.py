"""What each page shows: asked of the record, as values for its template."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from difflib import unified_diff
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlencode

from sqlite_utils import Database

from callerid.archive import agents as agent_archive
from callerid.archive import calls as call_archive
from callerid.archive import sessions as archive
from callerid.archive.runs import run, runs
from callerid.archive.search import search
from callerid.archive.sessions import STATUSES, Filter, NotFound, SessionFacts
from callerid.archive.steps import tools_asked
from callerid.archive.transcript import Line, Reader
from callerid.explorer import talk
from callerid.explorer.callview import call_values
from callerid.explorer.charts import chart
from callerid.explorer.timeline import timeline

Args = Mapping[str, str]
Values = dict[str, object]
RUNS = 50
HITS = 40
EXCHANGES = 300  # of a transcript, on one page
AGENTS = 100
MARK = "\x01"
_CONTEXT = 3  # lines around a change in a prompt


class Elsewhere(NamedTuple):
    """Another page is meant."""

    address: str


View = Callable[[Database, Args], Values | Elsewhere]


def runs_page(database: Database, args: Args) -> Values | Elsewhere:
    """The runs that are meant, or what was found by words; an id leads where it is."""
    words = args.get("q", "").strip()
    if words and (there := _by_id(database, words)):
        return there
    status, since = args.get("status", ""), args.get("since", "").strip()
    which = Filter(
        agent=args.get("agent", "").strip(), client=args.get("client", "").strip(),
        model=args.get("model", "").strip(), status=status if status in STATUSES else "",
        since=archive.moment(since, time.time()) if since else None,
    )  # fmt: skip
    page = _page(args)
    if words:
        narrow = which._replace(status="", model="")
        found = list(search(database, words, narrow, HITS, MARK, reads_only=True))
        return {"hits": found, "mark": MARK, "q": words, "which": which}
    found_runs = list(runs(database, which, RUNS + 1, (page - 1) * RUNS))
    is_filtered = which != Filter()
    return {
        "runs": found_runs[:RUNS], "page": page, "has_more": len(found_runs) > RUNS,
        "which": which, "is_filtered": is_filtered, "statuses": STATUSES,
    }  # fmt: skip


def _by_id(database: Database, words: str) -> Elsewhere | None:
    if len(words) < 6 or " " in words:
        return None
    for find, address in ((archive.session_id, "/session"), (archive.call_id, "/call")):
        try:
            return Elsewhere(f"{address}?{urlencode({'id': find(database, words)})}")
        except NotFound:
            continue
    return None


def run_page(database: Database, args: Args) -> Values:
    """A run: its tree, its time line, its tokens; raises NotFound."""
    root = args.get("id", "")
    facts = run(database, root)
    ordered = archive.parents_first(archive.sessions(database, Filter(root=root)))
    calls = list(call_archive.calls(database, Filter(root=root)))
    return {
        "run": facts,
        "opening": _session(database, facts.opening_id),
        "run_ids": [session.id for session in ordered],
        "rows": [(session, depth) for session, depth in _depths(ordered)],
        "whole": archive.costs_with_children(ordered),
        "timeline": timeline(ordered, calls, tools_asked(database, root)),
        "chart": chart(calls),
        "failed": [call for call in calls if call.has_failed][-10:],
    }


def _depths(ordered: list[SessionFacts]) -> list[tuple[SessionFacts, int]]:
    depths: dict[str, int] = {}
    for session in ordered:
        depths[session.id] = depths.get(session.parent_session_id, -1) + 1
    return [(session, depths[session.id]) for session in ordered]


def session_page(database: Database, args: Args) -> Values:
    """A session: what it came to, and its transcript; raises NotFound."""
    facts = _session(database, args.get("id", ""))
    calls = list(call_archive.calls(database, Filter(session=facts.id)))
    said = talk.exchanges(calls, Reader(database).session(facts.id))
    pages = max(1, -(-len(said) // EXCHANGES))
    page = min(_page(args, first=_page_of(said, args.get("call", ""))), pages)
    shown = said[(page - 1) * EXCHANGES : page * EXCHANGES]
    of_run = list(archive.sessions(database, Filter(root=facts.root_session_id)))
    children = [each for each in of_run if each.parent_session_id == facts.id]
    return {
        "session": facts, "exchanges": shown, "page": page, "pages": pages, "chart": chart(calls),
        "children": children, "calls": calls,
        "spawned": _spawned(children, calls), "run_ids": [each.id for each in of_run],
        "splits": [each for each in shown if calls and each.call.id != calls[0].id],
    }  # fmt: skip


def _page_of(said: list[talk.Exchange], call_id: str) -> int:
    at = next((at for at, each in enumerate(said) if call_id and each.call.id == call_id), 0)
    return at // EXCHANGES + 1


def _spawned(
    children: list[SessionFacts], calls: list[call_archive.CallFacts]
) -> dict[str, list[SessionFacts]]:
    """The sessions that came from a session, by the call after which they began."""
    found: dict[str, list[SessionFacts]] = {}
    for child in children:
        begun = [call.id for call in calls if call.started_at <= child.first_seen]
        if begun:
            found.setdefault(begun[-1], []).append(child)
    return found


def _session(database: Database, wanted: str) -> SessionFacts:
    id = archive.session_id(database, wanted)
    return next(archive.sessions(database, Filter(session=id), 1))


def call_page(database: Database, args: Args) -> Values:
    """A call: all that is known of it; raises NotFound, NotJSON, NotPacked."""
    return call_values(database, archive.call_id(database, args.get("id", "")), args)


def agents_page(database: Database, args: Args) -> Values:
    """The agents, the one heard of last first."""
    page = _page(args)
    found = agent_archive.agents(database, AGENTS + 1, (page - 1) * AGENTS)
    return {"agents": found[:AGENTS], "page": page, "has_more": len(found) > AGENTS}


def agent_page(database: Database, args: Args) -> Values:
    """An agent: its prompts and how they differ, its tools, its sessions; raises NotFound."""
    facts = agent_archive.agent(database, args.get("id", ""))
    variants = agent_archive.variants(database, facts.id)
    differences = [list(_difference(old.text, new.text)) for new, old in pairwise(variants)]
    return {
        "agent": facts, "variants": variants, "differences": [*differences, []],
        "tools": agent_archive.used(database, facts),
        "sessions": list(archive.sessions(database, Filter(agent_id=facts.id), RUNS)),
    }  # fmt: skip


def _difference(old: str, new: str) -> list[str]:
    return list(unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=_CONTEXT))[2:]


def compare_page(database: Database, args: Args) -> Values:
    """Two sessions side by side: what both say first, and where they part; raises NotFound."""
    if not (args.get("a") and args.get("b")):
        return {"sides": None}
    sides = [_session(database, args[name]) for name in ("a", "b")]
    reader = Reader(database)
    left, right = (reader.session(side.id) for side in sides)
    same = _same(left, right)
    parted = [
        [message for _, message in talk.messages(lines[same:])][:EXCHANGES]
        for lines in (left, right)
    ]
    return {
        "sides": sides, "same": same, "counts": (len(left), len(right)), "parted": parted,
        "shared": [message for _, message in talk.messages(left[:same])][:EXCHANGES],
    }  # fmt: skip


def _same(left: list[Line], right: list[Line]) -> int:
    pairs = zip(left, right, strict=False)
    differ = (at for at, (a, b) in enumerate(pairs) if not talk.is_same(a, b))
    return next(differ, min(len(left), len(right)))


def _page(args: Args, first: int = 1) -> int:
    said = args.get("page", "")
    return max(1, int(said)) if said.isdecimal() and len(said) < 7 else first
