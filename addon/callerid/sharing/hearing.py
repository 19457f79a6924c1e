"""Hears of sessions from an engine: takes in what has changed of them elsewhere.

In place: a session that is known stays the same object, and so do its points, as calls that are
under way hold them.
"""

from __future__ import annotations

from collections.abc import Iterable

from callerid.dispatch.routes import Routes
from callerid.identity import prompts, remember
from callerid.identity.memory import Memory
from callerid.identity.openings import Opening
from callerid.identity.session import NO_ERRANDS, NOTHING_GIVEN, Point, Prompt, Session, State
from callerid.sharing.engine import Found
from callerid.sharing.form import (
    STATES,
    Elsewhere,
    Entry,
    Head,
    Place,
    PointRow,
    read_entry,
    read_head,
)
from callerid.sharing.held import Held, Holding
from callerid.turn import Client, Relation


class Hearing:
    """Takes found sessions into memory."""

    def __init__(self, memory: Memory, holding: Holding, routes: Routes) -> None:
        self._memory = memory
        self._holding = holding
        self._routes = routes

    def take_in(self, found: Iterable[Found]) -> set[str]:
        """Take in what is new; the ids of sessions that have to be looked up from their beginning.

        Of these others came, and nobody knows them here; or what was found is of another copy.
        """
        taken: list[tuple[Held, Head, list[Entry]]] = []
        lacking: set[str] = set()
        for each in found:
            if step := self._read(each):
                taken.append(step)
            elif each.since and self._is_of_another_copy(each):
                lacking.add(each.id)
        taken.sort(key=lambda step: step[1].seen)
        for held, _, entries in taken:
            for entry in entries:
                self._add_points(held, entry)
        for held, head, entries in taken:
            lacking |= self._lacking(head, entries)
            self._take_in(held, head, entries)
        return lacking

    def _read(self, found: Found) -> tuple[Held, Head, list[Entry]] | None:
        head = read_head(found.head)
        session = self._memory.get(found.id)
        if session is None:
            client = Client(head.scope, head.connection, head.address, head.user_agent)
            session = Session(found.id, client, head.seen)
            self._memory.touch(session, head.seen)
            if self._memory.get(found.id) is None:
                return None  # there is no room for it
        held = self._holding.of(session)
        if held.version and head.born != held.born:
            if found.since:
                return None
            if held.is_dirty:
                held.begin_anew()
            else:
                self.begin_anew(held)
        if found.version <= held.version or found.since > held.version:
            return None
        held.born = head.born
        entries = [read_entry(raw) for raw in found.entries[held.version - found.since :]]
        held.version = found.version
        return held, head, entries

    def _is_of_another_copy(self, found: Found) -> bool:
        held = self._holding.known(self._memory.get(found.id))
        return held is not None and held.born != read_head(found.head).born

    def _lacking(self, head: Head, entries: Iterable[Entry]) -> set[str]:
        ids = {head.parent_id} | {
            row.before.session_id
            for entry in entries
            for row in entry.points
            if isinstance(row.before, Elsewhere)
        }
        return {id for id in ids if id and self._memory.get(id) is None}

    def _add_points(self, held: Held, entry: Entry) -> None:
        session, memory = held.session, self._memory
        for row in entry.points:
            point = held.at(row.number) or self._own(held, row)
            if point is None:
                point = Point(session, row.link, row.depth, None, is_reply=row.is_reply)
                point.state = STATES[row.state]
            held.numbered(row.number, point)
            if row.is_listed:
                memory.points.add(session, row.link, point)
            state = STATES[row.state]
            if not (held.is_dirty and state is State.IN_FLIGHT):  # it may have ended here since
                point.state = state
            point.said, point.turn, point.agent_id = row.said, row.turn, row.agent_id

    def _own(self, held: Held, row: PointRow) -> Point | None:
        """A point that is known here, though not by its number: we told of it, or met it too."""
        own = (p for p in self._memory.points.get(row.link) if p.session is held.session)
        return next((p for p in own if p.is_reply == row.is_reply and p not in held.numbers), None)

    def _take_in(self, held: Held, head: Head, entries: list[Entry]) -> None:
        session, memory = held.session, self._memory
        for entry in entries:
            for row in entry.points:
                point = held.at(row.number)
                assert point is not None
                point.before = self._point(held, row.before) or point.before
                point.next = self._point(held, row.next) or point.next
                _meet(point)
            for name in entry.units:
                memory.units.add(session, name, session)
            for id, number in entry.responses:
                if reply := held.at(number):
                    memory.responses.add(session, (head.scope, id), reply)
            for id in entry.tool_ids:
                memory.tool_ids.add(session, (head.scope, id), session)
            for within, id in entry.declared:
                memory.declared.add(session, (within, id), session)
            if entry.given is not None:
                session.given = held.given = frozenset(entry.given)
            if entry.opening is not None:
                words = entry.opening
                opening = Opening(session, words.text, words.at)
                memory.openings.heard(opening, is_begun=words.is_begun)
                held.is_opened = True
        self._say(held, entries)
        self._take_head(held, head)
        if not held.is_dirty:
            held.counts = (
                memory.points.count(session), memory.units.count(session),
                memory.responses.count(session), memory.tool_ids.count(session),
                memory.declared.count(session),
            )  # fmt: skip
            held.touched.clear()
        remember.thin_out(session, memory)

    def _say(self, held: Held, entries: Iterable[Entry]) -> None:
        """What the model said, with what it has said here and was not told yet."""
        session, said = held.session, list(held.said)
        own = [name for name in session.said if name not in set(said)] if held.is_dirty else []
        for entry in entries:
            said[entry.cut :] = entry.said
        held.said = said
        there = set(said)
        session.said = (*said, *(name for name in own if name not in there))

    def _take_head(self, held: Held, head: Head) -> None:
        session, memory = held.session, self._memory
        session.client = Client(head.scope, head.connection, head.address, head.user_agent)
        session.root_id, session.run, session.parent_id = head.root_id, head.run, head.parent_id
        session.relation = Relation(head.relation) if head.relation else None
        session.agent_id, session.asked = head.agent_id, head.asked
        self._take_prompt(held, head)
        session.calls = max(session.calls, head.calls)
        session.has_declared_id |= head.has_declared_id
        session.is_searched |= head.is_searched
        is_told = session.head is None or session.head in held.numbers or not held.is_dirty
        if is_told:
            session.head = self._point(held, head.head) or session.head
        spoke_here = held.is_dirty and session.tail != held.tail
        if not spoke_here:
            session.tail, session.ends_in_text = head.tail, head.ends_in_text
            session.asks_tool, session.spoken, session.tasks = (
                head.asks_tool, head.spoken, head.tasks
            )  # fmt: skip
            memory.lengthen(session, head.messages)
            memory.replies.forget(session)
            for number in head.reply:
                memory.replies.add(session, number, session)
        new = {text: n for text, n in head.errands.items() if text not in session.errands}
        remember.errands(session, new, memory)
        held.tail, held.reply, held.errands = head.tail, head.reply, frozenset(head.errands)
        held.named_at, held.bound = head.named_at, head.bound
        if head.bound is not None:
            self._routes.heard_of(session.id, *head.bound)
        memory.touch(session, head.seen)

    def _take_prompt(self, held: Held, head: Head) -> None:
        number, letters, name, begun = head.prompt or (-1, 0, b"", b"")
        if not held.is_dirty or held.prompt != begun:
            prompts.drop(held.session, self._memory)
            if reply := held.at(number):
                prompts.known_as(held.session, Prompt(reply, letters, name, begun), self._memory)
        held.prompt = begun

    def _point(self, held: Held, place: Place) -> Point | None:
        if place is None:
            return None
        if isinstance(place, int):
            return held.at(place)
        other = self._holding.known(self._memory.get(place.session_id))
        known = other.at(place.number) if other is not None else None
        if known is not None:
            return known
        # Nobody knows that one here; what is asked of it is known.
        stands_for = Point(held.session, place.link, 0, None, is_reply=place.is_reply)
        stands_for.state = STATES[place.state]
        return stands_for

    def begin_anew(self, held: Held) -> None:
        """Forget what a session has come to here; its points are kept for those who hold them."""
        memory, session = self._memory, held.session
        for index in memory.what_is_said():
            index.forget(session)
        points = held.points
        held.begin_anew()
        held.points = points
        held.numbers = {point: at for at, point in enumerate(points) if point is not None}
        held.is_dirty = False
        held.touched.clear()
        for point in held.numbers:
            point.before = point.next = None
        session.said, session.given, session.errands = (), NOTHING_GIVEN, NO_ERRANDS
        session.head = session.prompt = None
        session.calls = 0


def _meet(point: Point) -> None:
    """Let the point before know this one, where it only knew what stood for it."""
    before = point.before
    if before is not None and before.session is not point.session:
        stands_for = before.next
        if stands_for is not None and stands_for.link == point.link:
            before.next = point
