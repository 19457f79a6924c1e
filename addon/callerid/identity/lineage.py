"""History: the longest prefix of what was said that a live session has reached.

A call that goes on from where a session stands continues it. One that leaves an earlier point
with something else is a fork. The same call again is a retry, unless the client is searching a
tree: then it is another branch. What is shared must hold something that the model said: two
conversations may open with the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from callerid.identity.history import History
from callerid.identity.memory import Memory
from callerid.identity.retelling import reply_retold
from callerid.identity.session import Point, Session, State
from callerid.turn import Client, Role

MIN_ASKED = 40  # letters: shorter openings are in everybody's mouth
HANDED_SECONDS = 120.0  # within which the next agent asks
TOLD = 40  # characters, the newest of a session


class Way(IntEnum):
    """How a history goes on from a point, the most convincing first."""

    RETRY = 0  # the same call, which failed
    ON = 1  # from a reply that nothing has gone on from
    RETOLD = 2  # from such a reply, which the client tells in other words
    AGAIN = 3  # the same call, which was answered: regenerate
    GROWN = 4  # from a call that failed, or whose reply the client dropped or rewrote
    FORK = 5  # from a point that something else has gone on from


class Step(NamedTuple):
    """A point that a history goes through, and how it goes on from there.

    `at` is how many units of the history lie before the point, and `said` how many up to the last
    of them that a model said in the point's session; `rivals` are the other sessions that it goes
    on from just as well.
    """

    point: Point
    way: Way
    at: int
    said: int
    rivals: int = 0


def follow(
    history: History,
    client: Client,
    agent_id: str,
    issuers: Callable[[], list[Session]],
    memory: Memory,
    now: float,
) -> Step | None:
    """The best point that a history goes on from; None where no session has reached any of it.

    `issuers` are the sessions whose model issued the newest tool id: asked only where it matters.
    """
    best: list[Step] = []
    floor = 0
    for at in range(len(history.links), -1, -1):
        link = history.links[at - 1] if at else history.start
        for point in memory.points.get(link):
            if not memory.is_live(point.session, now) or _said_nothing(point, history, at):
                continue
            way = _way(point, history, at, agent_id)
            if way is not None:
                step = Step(point, way, at, _said(point, history, at))
            elif reply := reply_retold(point, history, at, issuers, memory):
                step = Step(reply, Way.RETOLD, at + 1, at + 1)
            else:
                continue
            floor = max(floor, step.said)
            best.append(step)
        if best and at <= floor:
            break
    if len(best) < 2:
        return best[0] if best else None
    return _choose(best, client, issuers)


def handed_over(
    history: History, told: str, client: Client, agent_id: str, memory: Memory, now: float
) -> Session | None:
    """The session that asked all this, but for the end, and waits for a tool; of another agent.

    Some programs hand a conversation over by telling the next agent, as a person would, what was
    done so far. Of several it is the one whose newest words are `told`.
    """
    if history.model_units():
        return None
    askers, weight = [], 0
    for link, unit in zip(history.links[:-1], history.units, strict=False):
        weight += unit.weight
        if weight >= MIN_ASKED:
            found = memory.points.get(link)
            askers += [p.session for p in found if not p.is_reply and p.before is None]
    waiting = [
        session
        for session in memory.live(askers, now)
        if session.is_waiting
        and session.asks_tool
        and session.agent_id != agent_id
        and now - session.seen <= HANDED_SECONDS
    ]
    return max(waiting, key=lambda one: _rank(one, told, client), default=None)


def _rank(session: Session, told: str, client: Client) -> tuple[bool, bool, float]:
    is_near = session.client.connection == client.connection
    return session.tail[-TOLD:] in told, is_near, session.seen


def _choose(steps: list[Step], client: Client, issuers: Callable[[], list[Session]]) -> Step:
    """The step that shares most of what was said; of equals the issuer's, then the client's own."""
    steps.sort(key=lambda step: (-step.said, step.way))
    first = steps[0]
    equal = [step for step in steps if (step.said, step.way) == (first.said, first.way)]
    if len({step.point.session for step in equal}) < 2:
        return first
    issued = [step for step in equal if step.point.session in issuers()]
    if issued and len(issued) < len(equal):
        equal = issued
    equal.sort(key=lambda step: _nearness(step, client))
    return equal[0]._replace(rivals=len({step.point.session for step in equal}) - 1)


def _nearness(step: Step, client: Client) -> tuple[bool, bool, float]:
    session = step.point.session
    return (
        session.client.connection != client.connection,
        session.client.address != client.address,
        -session.seen,
    )


def _said_nothing(point: Point, history: History, at: int) -> bool:
    """Whether a call had no words, and so is where every history begins."""
    return not at and bool(history.units) and not point.is_reply


def _way(point: Point, history: History, at: int, agent_id: str) -> Way | None:
    if point.is_reply:
        return Way.ON if is_on_path(point) else Way.FORK
    is_all = at == len(history.units)
    if not point.said and not _counts(point, history, at, agent_id):
        return None
    if is_all:
        return _again(point)
    if point.state is State.FAILED or point.is_open:
        return Way.GROWN if is_on_path(point) else Way.FORK
    return Way.FORK


def _counts(point: Point, history: History, at: int, agent_id: str) -> bool:
    """Whether an opening means something, though the same words prove nothing.

    It does when it failed and the same agent tries again; and when it is being answered and the
    history goes on with an answer: the client has read it to its end a moment before we did.
    """
    if point.state is State.FAILED:
        return point.agent_id == agent_id
    goes_on = at < len(history.units) and history.units[at].role is Role.ASSISTANT
    return point.state is State.IN_FLIGHT and goes_on


def _again(point: Point) -> Way:
    if point.state is State.FAILED:
        return Way.RETRY if point.before is None or _leads(point) else Way.FORK
    return Way.FORK if point.next is not None or point.session.is_searched else Way.AGAIN


def is_on_path(point: Point) -> bool:
    """Whether nothing else went on from here, nor from another reply to the same call."""
    if not point.is_open:
        return False
    call = point.before if point.is_reply else None
    return call is None or call.next is None or call.next is point


def _leads(point: Point) -> bool:
    before = point.before
    return before is None or before.is_open or before.next is point


def _said(point: Point, history: History, at: int) -> int:
    """How many units of the history lie up to the last that a model said, before a point."""
    if point.is_reply:
        return at
    if point.before is None:
        return 0
    if point.before.link in history.links[:at]:
        return history.links.index(point.before.link) + 1
    places = (
        place for place in range(at, 0, -1) if history.units[place - 1].role is Role.ASSISTANT
    )
    return next(places, 0)  # by likeness: the point before has another history
