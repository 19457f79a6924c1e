"""Joins the truth with the record, live and identified again without ids."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from callerid.recordings.reidentify import reidentify
from callerid.settings.load import load
from callerid.traces.database import Recorded
from callerid.turn import Identity
from lab.compliance.agent import Agent
from lab.compliance.model import Heard, fingerprint
from lab.compliance.play import Played
from lab.compliance.score import Mistake, Told, mistakes
from lab.compliance.script import root
from lab.compliance.stripped import without_ids


class Judged(NamedTuple):
    """What came of one agent: mistakes with ids and without, troubles and calls by scenario."""

    with_ids: list[Mistake]
    without_ids: list[Mistake]
    troubles: dict[str, list[str]]
    calls: Counter[str]


def judge(agent: Agent, played: Played) -> Judged:
    """Hold the record of what was played against the truth."""
    truth = {fingerprint(one.body): one for one in played.heard}
    troubles = defaultdict(list, {name: list(some) for name, some in played.troubles.items()})
    for name, some in record_troubles(played.heard, played.recorded).items():
        troubles[name] += some
    known = {
        record.id: truth[name]
        for record in played.recorded
        if (name := fingerprint(json.loads(record.request.body))) in truth and truth[name].label
    }
    prompts = {scenario.name: scenario.prompt for scenario in agent.scenarios}

    def told(id: str, identity: Identity | None) -> Iterator[Told]:
        if identity and (one := known.get(id)):
            yield Told(id, one.label, one.kind, identity, prompts.get(root(one.label), ""))

    live = [each for one in played.recorded for each in told(one.id, one.identity)]
    stripped = map(without_ids, played.recorded)
    again = [
        each for one in reidentify(stripped, load()) for each in told(one.call.id, one.identity)
    ]
    return Judged(
        mistakes(live, agent.client, shares_agent=agent.shares_agent),
        mistakes(again, shares_agent=agent.shares_agent),
        troubles,
        Counter(one.scenario for one in live),
    )


def record_troubles(heard: list[Heard], recorded: list[Recorded]) -> dict[str, list[str]]:
    """Calls that arrived and are not on record, by scenario."""
    on_record = Counter(fingerprint(json.loads(one.request.body)) for one in recorded)
    troubles = defaultdict(list)
    for one in heard:
        name = fingerprint(one.body)
        if not on_record[name]:
            troubles[root(one.label)].append(f"a {one.kind} call of {one.label} is not on record")
        on_record[name] -= 1
    return troubles
