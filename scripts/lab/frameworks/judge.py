"""Holds what callerid stamped on each call against who truly made it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from lab.frameworks.label import HANDED, HELPER, MAIN, TOLD, Label
from lab.frameworks.play import Heard

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
SESSIONS, PARENTS, AGENTS = ASPECTS = ("sessions", "parents", "agents")


class Talk(NamedTuple):
    """What truly is one session: the main conversation, one errand of a helper, or a peer's."""

    scenario: str
    conversation: str
    whose: str
    errand: int = 0

    def __str__(self) -> str:
        errand = f", errand {self.errand}" if self.errand else ""
        return f"conversation {self.conversation}, {self.whose}{errand}"


class Mistake(NamedTuple):
    """Something that callerid has wrong about one call."""

    scenario: str
    aspect: str
    words: str


def talks(heard: Iterable[Heard]) -> list[Talk]:
    """The talk of each call: a helper that has not heard the model before is on a new errand."""
    errands: Counter[Label] = Counter()
    found = []
    for one in heard:
        label = one.label
        errands[label] += label.role == HELPER and (one.begins or not errands[label])
        whose = MAIN if label.role in (MAIN, HANDED) else label.agent
        found.append(Talk(label.scenario, label.conversation, whose, errands[label]))
    return found


def judge(heard: list[Heard]) -> list[Mistake]:
    """Everything that is wrong, of all scenarios that were played beside each other."""
    pairs = list(zip(talks(heard), heard, strict=True))
    sessions = _of_each((talk, one.session) for talk, one in pairs)
    owners = _of_each((one.session, talk) for talk, one in pairs)
    found = list(_session_mistakes(pairs, sessions, owners))
    found += _parent_mistakes(pairs, sessions)
    found += _agent_mistakes(pairs)
    return found


def _of_each(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, _Value]:
    """What each key most often goes with; the first of those that do as often."""
    counted: dict[_Key, Counter[_Value]] = defaultdict(Counter)
    for key, value in pairs:
        counted[key][value] += 1
    return {key: values.most_common(1)[0][0] for key, values in counted.items()}


def _session_mistakes(
    pairs: list[tuple[Talk, Heard]], sessions: dict[Talk, str], owners: dict[str, Talk]
) -> Iterator[Mistake]:
    for talk, one in pairs:
        owner = owners[one.session]
        if not one.session:
            yield Mistake(talk.scenario, SESSIONS, f"{talk}: a call has no session")
        elif owner != talk:
            words = f"{talk}: a call is in the session of {owner.scenario}, {owner}"
            yield Mistake(talk.scenario, SESSIONS, words)
        elif one.session != sessions[talk]:
            yield Mistake(talk.scenario, SESSIONS, f"{talk}: a call is in a session of its own")


def _parent_mistakes(
    pairs: list[tuple[Talk, Heard]], sessions: dict[Talk, str]
) -> Iterator[Mistake]:
    for talk, one in pairs:
        main = Talk(talk.scenario, talk.conversation, MAIN)
        wanted = sessions.get(main, "") if one.label.role in (HELPER, TOLD) else ""
        if one.parent == wanted:
            continue
        has = "another parent" if one.parent and wanted else "a parent" if one.parent else "none"
        words = f"{talk}: expected {'its main session' if wanted else 'no parent'}, found {has}"
        yield Mistake(talk.scenario, PARENTS, words)


def _agent_mistakes(pairs: list[tuple[Talk, Heard]]) -> Iterator[Mistake]:
    agents = _of_each((one.label, one.agent) for _, one in pairs)
    for talk, one in pairs:
        if one.agent != agents[one.label] or not one.agent:
            words = f"{talk}: {one.label.agent} is for once another agent"
            yield Mistake(talk.scenario, AGENTS, words)
