"""Holds what a consumer answered and logged against the truth and against traces.db."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from callerid.turn import Identity
from lab.consumers.consumer import Consumer, Logged, Round
from lab.consumers.talks import Turn

ANSWERED = "answered"
_OK, _REFUSED = 200, 400


class Mistake(NamedTuple):
    """Something that is not as it should be, in one aspect."""

    aspect: str
    words: str


class Verdict(NamedTuple):
    """What is wrong with one round."""

    consumer: Consumer
    told_by: str
    aspects: frozenset[str]
    calls: int
    mistakes: list[Mistake]


def judge(played: Round) -> Verdict:
    """What is wrong with a round."""
    found = [*_answers(played), *_record(played), *_log(played), *_workers(played)]
    return Verdict(played.consumer, played.told_by, played.aspects, len(played.turns), found)


def _answers(played: Round) -> Iterator[Mistake]:
    for turn in played.turns:
        wanted = _REFUSED if turn.is_refused else _OK
        if turn.status != wanted:
            yield Mistake(ANSWERED, f"{turn.name} was answered with {turn.status}, not {wanted}")


def _record(played: Round) -> Iterator[Mistake]:
    """Whether the record is the truth: a session for each talk, below the right parent."""
    sessions: dict[str, set[str]] = defaultdict(set)
    for turn, identity in _known(played):
        sessions[turn.talk].add(identity.session_id)
    for talk, ids in sessions.items():
        others = set().union(*(sessions[other] for other in sessions if other != talk))
        if len(ids) != 1 or ids & others:
            yield Mistake("session", f"on record the talk {talk} has the sessions {sorted(ids)}")
    for turn, identity in _known(played):
        wanted = sessions[turn.parent] if turn.parent else {""}
        if {identity.parent_session_id} != wanted:
            yield Mistake("parent", f"on record {turn.name} has {identity.parent_session_id!r}")
        if identity.is_final != turn.is_final:
            yield Mistake("final", f"on record {turn.name} is final: {identity.is_final}")


def _known(played: Round) -> Iterator[tuple[Turn, Identity]]:
    for turn in played.turns:
        record = played.recorded.get(turn.name)
        if record is not None and record.identity is not None:
            yield turn, record.identity


def _log(played: Round) -> Iterator[Mistake]:
    """Whether the consumer logged what is on record."""
    identities = {turn.name: identity for turn, identity in _known(played)}
    for turn in played.turns:
        identity, logged = identities.get(turn.name), played.logged.get(turn.name)
        if turn.is_refused or turn.is_untold:
            if logged is not None and logged.session:
                yield Mistake("session", f"{turn.name} is logged with {logged.session!r}")
            continue
        if identity is None or logged is None:
            where = "record" if identity is None else "log"
            yield Mistake("session", f"{turn.name} is not in the {where}")
            continue
        wanted = _wanted(identity, turn, marks=played.marks_last_calls)
        for aspect in sorted(played.aspects - {"worker"}):
            found, want = getattr(logged, aspect), getattr(wanted, aspect)
            if found != want:
                yield Mistake(
                    aspect, f"{turn.name} is logged with {aspect} {found!r}, not {want!r}"
                )


def _wanted(identity: Identity, turn: Turn, *, marks: bool) -> Logged:
    return Logged(
        session=identity.session_id,
        parent=identity.parent_session_id,
        final=turn.is_final and marks,
        agent=identity.agent_id,
    )


def _workers(played: Round) -> Iterator[Mistake]:
    """Whether each session that the consumer heard of stayed with one worker."""
    workers: dict[str, set[str]] = defaultdict(set)
    for logged in played.logged.values():
        if logged.session:
            workers[logged.session].add(logged.worker)
    for session, ids in workers.items():
        if len(ids) != 1:
            yield Mistake("worker", f"{session} was served by {len(ids)} workers")
