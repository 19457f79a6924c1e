"""The stories are the specification of identity; adding one needs no Python."""

from __future__ import annotations

from typing import Any

import pytest

import story as reader
from callerid.turn import Dialect
from story import Told

_STORIES = list(reader.stories())


@pytest.mark.parametrize(
    ("story", "dialect"),
    [(story, dialect) for _, story, dialect in _STORIES],
    ids=[name for name, _, _ in _STORIES],
)
def test_every_call_is_identified_as_its_story_tells(
    story: dict[str, Any], dialect: Dialect
) -> None:
    check(reader.tell(story, dialect))


def check(told: list[Told]) -> None:
    """Hold each call of a story against what it expects."""
    sessions: dict[str, str] = {}
    agents: dict[str, str] = {}
    for call in told:
        _agree(sessions, call.expected["is"], call.identity.session_id, call)
        if "agent" in call.expected:
            _agree(agents, call.expected["agent"], call.identity.agent_id, call)
    for call in told:
        _check(call, sessions)


def test_every_story_says_why() -> None:
    assert all(story["why"].strip() for _, story, _ in _STORIES)


def _agree(names: dict[str, str], name: str, id: str, call: Told) -> None:
    """Equal names have equal ids, different names different ones."""
    known = names.setdefault(name, id)
    assert known == id, f"call {call.number} is not {name!r}: {call.identity}"
    others = [other for other in names if other != name and names[other] == id]
    assert not others, f"call {call.number} is taken for {others[0]!r}: {call.identity}"


def _check(call: Told, sessions: dict[str, str]) -> None:
    expected, identity = call.expected, call.identity
    said = f"call {call.number}: {identity}"
    for field in ("because", "relation", "kind", "session_id", "agent_id", "is_final"):
        if field in expected:
            assert getattr(identity, field) == expected[field], said
    if "parent" in expected:
        parent = expected["parent"]
        assert identity.parent_session_id == sessions.get(parent, parent or ""), said
    if "root" in expected:
        assert identity.root_session_id == sessions.get(expected["root"], expected["root"]), said
    assert expected.get("evidence", "") in identity.evidence, said
    assert identity.evidence, said
    assert expected.get("least", 0) <= identity.confidence <= expected.get("most", 1), said
