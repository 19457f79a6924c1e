"""Tells an engine of a session: what has changed of it since it was told last."""

from __future__ import annotations

from typing import NamedTuple

from callerid.dispatch.routes import Routes
from callerid.identity.memory import Memory
from callerid.identity.session import Point, Session
from callerid.sharing import names
from callerid.sharing.engine import Write
from callerid.sharing.form import STATES, Elsewhere, Entry, Head, Place, PointRow, Words, written
from callerid.sharing.held import Held, Holding

SLACK_SECONDS = 1.0  # that the engine keeps a session longer than memory would


class Told(NamedTuple):
    """What was written of a session: to be noted when the engine has taken it, or withdrawn."""

    held: Held
    write: Write
    born: str
    said: list[int]
    tail: str
    reply: list[int]
    errands: frozenset[str]
    given: frozenset[int]
    counts: tuple[int, int, int, int, int]
    named_at: float
    is_opened: bool
    touched: dict[Point, None]
    bound: tuple[str, float, bool] | None
    prompt: bytes
    numbered: int  # points before
    changes: int

    def note(self) -> None:
        """The engine has taken it."""
        held = self.held
        held.version, held.born = self.write.version + 1, self.born
        held.said, held.tail, held.reply = self.said, self.tail, self.reply
        held.errands, held.given, held.counts = self.errands, self.given, self.counts
        held.named_at, held.is_opened, held.bound = self.named_at, self.is_opened, self.bound
        held.prompt = self.prompt
        held.is_dirty = held.changes != self.changes

    def withdraw(self) -> None:
        """The engine has not taken it, or nobody knows whether it has."""
        self.held.unnumber(self.numbered)
        self.held.touched = self.touched | self.held.touched


class Telling:
    """Writes sessions down; without `keeps_words` no word that was said goes along.

    `name` is this proxy's, which no other has.
    """

    def __init__(
        self, memory: Memory, holding: Holding, routes: Routes, name: str, *, keeps_words: bool
    ) -> None:
        self._memory = memory
        self._holding = holding
        self._routes = routes
        self._name = name
        self._keeps_words = keeps_words

    def of(self, held: Held, now: float) -> Told:
        """What has changed of a session."""
        session, memory = held.session, self._memory
        is_due = now - held.named_at > memory.ttl_seconds
        counts = held.counts if not is_due else (0, 0, 0, 0, 0)
        numbered, changes = len(held.points), held.changes
        rows, responses = self._points(held, counts)
        given = session.given
        touched, held.touched = held.touched, {}
        opening = None if held.is_opened and not is_due else self._opening(session)
        said = list(session.said)
        cut = _same(held.said, said)
        reply = sorted(memory.replies.numbers(session)) if self._keeps_words else []
        errands = dict(session.errands) if self._keeps_words else {}
        entry = Entry(
            points=rows, cut=cut, said=said[cut:],
            units=[*memory.units.names_since(session, counts[1])], responses=responses,
            tool_ids=[id for _, id in memory.tool_ids.names_since(session, counts[3])],
            declared=[*memory.declared.names_since(session, counts[4])],
            given=sorted(given) if given is not held.given else None, opening=opening,
        )  # fmt: skip
        named_at = now if is_due else held.named_at
        bound = self._routes.bound(session.id)
        born = held.born or f"{self._name} {now}"
        head = self._head(held, born, named_at, reply, errands, bound)
        found, gone = names.of_session(
            session, entry, reply if is_due or reply != held.reply else (),
            [n for text, n in errands.items() if is_due or text not in held.errands],
        )  # fmt: skip
        prompt = head.prompt[-1] if head.prompt else b""
        if prompt != held.prompt or is_due:
            found += [names.prompt(prompt)] if prompt else []
            gone += [names.prompt(held.prompt)] if held.prompt not in (b"", prompt) else []
        write = Write(
            session.id, held.version, written(head), written(entry),
            memory.ttl_seconds + SLACK_SECONDS, found, gone,
        )  # fmt: skip
        return Told(
            held, write, born, said, session.tail, reply, frozenset(errands), given,
            self._counts(session), named_at, held.is_opened or opening is not None,
            touched, bound, prompt, numbered, changes,
        )  # fmt: skip

    def _counts(self, session: Session) -> tuple[int, int, int, int, int]:
        memory = self._memory
        return (
            memory.points.count(session), memory.units.count(session),
            memory.responses.count(session), memory.tool_ids.count(session),
            memory.declared.count(session),
        )  # fmt: skip

    def _points(
        self, held: Held, counts: tuple[int, int, int, int, int]
    ) -> tuple[list[PointRow], list[tuple[str, int]]]:
        """The points that are new or may have changed, and the replies that ids name now."""
        session, memory = held.session, self._memory
        found: dict[Point, None] = {}
        for name in memory.points.names_since(session, counts[0]):
            found |= dict.fromkeys(p for p in memory.points.get(name) if p.session is session)
        named = [
            (name[1], point)
            for name in memory.responses.names_since(session, counts[2])
            for point in memory.responses.get(name)
            if point.session is session
        ]
        found |= dict.fromkeys(point for _, point in named)
        held.touch([*found, session.head])
        if memory.points.count(session) < held.counts[0]:  # it was thinned out: all turns are new
            names_left = memory.points.names(session)
            held.touch(p for name in names_left for p in memory.points.get(name))
        found |= held.touched
        for point in found:
            held.number(point)
        rows = sorted((self._row(held, point) for point in found), key=lambda row: row.number)
        return rows, [(id, held.number(point)) for id, point in named]

    def _row(self, held: Held, point: Point) -> PointRow:
        is_warmed = point.is_reply and point.before is None
        return PointRow(
            held.number(point), point.link, point.depth, point.turn, STATES.index(point.state),
            point.is_reply, point.said, not is_warmed, self._place(held, point.before),
            self._place(held, point.next), point.agent_id,
        )  # fmt: skip

    def _place(self, held: Held, point: Point | None) -> Place:
        if point is None:
            return None
        if point.session is held.session:
            return held.numbers.get(point)
        other = self._holding.known(point.session)
        number = other.numbers.get(point, -1) if other else -1
        state = STATES.index(point.state)
        return Elsewhere(point.session.id, number, point.link, point.is_reply, state)

    def _prompt(self, held: Held) -> tuple[int, int, bytes, bytes] | None:
        prompt = held.session.prompt
        number = held.numbers.get(prompt.reply) if prompt else None
        return (number, *prompt[1:]) if prompt and number is not None else None

    def _opening(self, session: Session) -> Words | None:
        found = self._memory.openings.of(session) if self._keeps_words else None
        return Words(found[0], found[1].text, found[1].at) if found else None

    def _head(
        self, held: Held, born: str, named_at: float, reply: list[int],
        errands: dict[str, list[int]], bound: tuple[str, float, bool] | None,
    ) -> Head:  # fmt: skip
        session, client = held.session, held.session.client
        return Head(
            session.scope, client.connection, client.address, client.user_agent, born, session.seen,
            named_at, session.root_id, session.run, session.parent_id, session.relation or "",
            session.agent_id, session.calls, session.messages, self._place(held, session.head),
            session.asked, self._prompt(held), session.has_declared_id, session.is_searched,
            session.ends_in_text, session.asks_tool, session.spoken,
            session.tail if self._keeps_words else "", errands,
            session.tasks if self._keeps_words else (), reply, bound,
        )  # fmt: skip


def _same(one: list[int], other: list[int]) -> int:
    """How many of the first of two lists are the same."""
    if one == other[: len(one)]:
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
