"""Holds identities against the truth, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from callerid.turn import Identity, Kind
from lab.compliance.script import parent, relation, root

ASPECTS = ("sessions", "parents", "kinds", "agents")


class Told(NamedTuple):
    """A call: whose it truly is and what for, and what callerid says.

    `prompt` names the agent's system prompt where it has several.
    """

    id: str
    label: str
    kind: str
    identity: Identity
    prompt: str = ""

    @property
    def scenario(self) -> str:
        return root(self.label)

    @property
    def role(self) -> str:
        """Who asks: the agent itself, or a helper; one that knows the history is the agent too."""
        return "helper" if "/" in self.label and "/copy" not in self.label else "main"


class Mistake(NamedTuple):
    """Something that callerid has wrong about a call of some kind, in one scenario."""

    scenario: str
    aspect: str
    kind: str
    words: str


def mistakes(
    told: Iterable[Told], client: str = "", *, shares_agent: bool = False
) -> list[Mistake]:
    """Everything that is wrong; `client` is what the client must be called, "" for anything."""
    calls = list(told)
    owners = _owners(calls)
    found = [_session_mistake(one, owners) for one in calls]
    found += [_kind_mistake(one) for one in calls]
    found += _parent_mistakes(calls, owners)
    found += _agent_mistakes(calls, shares_agent)
    found += [_client_mistake(one, client) for one in calls if client]
    return [mistake for mistake in found if mistake]


def _owners(calls: list[Told]) -> dict[str, str]:
    """The session of each talk: the one that they share most, and no other talk has more of.

    The calls of the talk itself count before those that are made beside it.
    """
    shared = Counter((one.label, one.identity.session_id) for one in calls)
    talked = Counter((one.label, one.identity.session_id) for one in calls if one.kind == Kind.MAIN)
    owners: dict[str, str] = {}
    for label, session in sorted(shared, key=lambda both: (-talked[both], -shared[both])):
        if label not in owners and session not in owners.values():
            owners[label] = session
    return owners


def _session_mistake(one: Told, owners: Mapping[str, str]) -> Mistake | None:
    session = one.identity.session_id
    if session == owners.get(one.label):
        return None
    whose = next((label for label, owner in owners.items() if owner == session), "")
    return _mistake(one, "sessions", f"a {one.kind} call of {one.label} is in {_place(whose)}")


def _place(whose: str) -> str:
    return f"the session of {whose}" if whose else "a session of its own"


def _kind_mistake(one: Told) -> Mistake | None:
    if one.identity.kind == one.kind:
        return None
    return _mistake(one, "kinds", f"a {one.kind} call of {one.label} is {one.identity.kind}")


def _parent_mistakes(calls: list[Told], owners: Mapping[str, str]) -> Iterable[Mistake | None]:
    newest = {one.label: one for one in calls if one.identity.session_id == owners.get(one.label)}
    for label, one in newest.items():
        truth = owners.get(parent(label), ""), relation(label)
        said = one.identity.parent_session_id, str(one.identity.relation or "")
        if said != truth:
            whose = next((name for name, owner in owners.items() if owner == said[0]), said[0])
            words = f"{label} is {said[1] or 'no child'} of {whose or 'nobody'}"
            yield _mistake(one, "parents", words)


def _agent_mistakes(calls: list[Told], shares_agent: bool) -> Iterable[Mistake | None]:
    asked = [one for one in calls if one.kind == Kind.MAIN]
    role = {one.id: one.prompt + ("main" if shares_agent else one.role) for one in asked}
    names = Counter((role[one.id], one.identity.agent_id) for one in asked)
    agents: dict[str, str] = {}
    for (name, agent), _ in names.most_common():
        if name not in agents and agent not in agents.values():
            agents[name] = agent
    for one in asked:
        if one.identity.agent_id != agents.get(role[one.id]):
            yield _mistake(one, "agents", f"{one.label} is agent {one.identity.agent_name}")


def _client_mistake(one: Told, client: str) -> Mistake | None:
    if one.identity.client_name == client:
        return None
    return _mistake(one, "agents", f"the client of {one.label} is {one.identity.client_name!r}")


def _mistake(one: Told, aspect: str, words: str) -> Mistake:
    why = f"{one.identity.because} {one.identity.confidence:.2f}: {one.identity.evidence}"
    return Mistake(one.scenario, aspect, one.kind, f"{words} (call {one.id}, {why})")
