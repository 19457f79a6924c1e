"""What a rung of the ladder finds: whose a call is, with what confidence, and why."""

from __future__ import annotations

from typing import NamedTuple

from callerid.identity.lineage import Step, Way
from callerid.identity.question import Question
from callerid.identity.session import Point, Session
from callerid.turn import Because, Relation

RIVALLED = 0.6  # the confidence where another session fits just as well


class Match(NamedTuple):
    """What a rung found.

    `session` is the session that goes on, None where a new one begins: then `new_id` is its id
    ("" to mint one), and `parent_id` and `relation` say where it comes from. `before` is the point
    that the call goes on from, `again` the earlier sending of the same call.
    """

    because: Because
    confidence: float
    evidence: str
    session: Session | None = None
    before: Point | None = None
    again: Point | None = None
    parent_id: str = ""
    relation: Relation | None = None
    new_id: str = ""


def continues(
    question: Question,
    session: Session,
    confidence: float,
    evidence: str,
    because: Because | None = None,
) -> Match:
    """A session goes on: from the point its history has reached, or from wherever it stands."""
    because = because or question.declared.because
    step = question.step
    if step is None or step.point.session is not session:
        return Match(because, confidence, evidence, session, before=session.head)
    if step.way in (Way.RETRY, Way.AGAIN):
        return Match(because, confidence, evidence, session, again=step.point)
    return Match(because, confidence, evidence, session, before=step.point)


def forks(question: Question, step: Step, evidence: str) -> Match:
    """A session leaves another at an earlier point."""
    because = question.declared.because if question.declared.run else Because.HISTORY
    return Match(because, 0.9, evidence, None, step.point, None, step.point.session.id,
                 Relation.FORK)  # fmt: skip


def reached(step: Step) -> str:
    """In words, where a history has got to."""
    evidence = f"{_WAYS[step.way]} {step.point.session.id} ({step.at} things said are known)"
    return evidence + (f"; {step.rivals} more fit as well" if step.rivals else "")


CONFIDENCE = {
    Way.RETRY: 0.95, Way.ON: 0.99, Way.RETOLD: 0.95, Way.AGAIN: 0.9, Way.GROWN: 0.85, Way.FORK: 0.9,
}  # fmt: skip
_WAYS = {
    Way.RETRY: "the same call again, which failed in",
    Way.ON: "it goes on from the newest reply of",
    Way.RETOLD: "it goes on from the newest reply, told in other words, of",
    Way.AGAIN: "the same call again, as answered in",
    Way.GROWN: "it goes on from an unfinished call of",
    Way.FORK: "it leaves an earlier point of",
}
