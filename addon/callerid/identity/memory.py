"""What is remembered of live sessions: the index that recognises histories.

Bounded by a number of sessions and a time of silence; whoever was silent for longest goes first.
It holds names (hashes) of what was said, and of each session's newest words a few hundred
characters; it never holds a whole conversation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from callerid.identity.history import Link, Trails
from callerid.identity.index import Index
from callerid.identity.newest import NewestReplies
from callerid.identity.openings import Openings
from callerid.identity.session import Point, Session

PROMPT_OWNERS = 256  # of one template, which is looked at in full for each
EXPIRED_AT_ONCE = 16  # sessions forgotten per call at most, which takes two milliseconds


class Memory:
    """All live sessions, and the names by which they are found.

    `points` finds moments by the link of their history, `units` sessions by what their model said,
    `replies` by a sketch of their newest reply, `errands` by a sketch of what their model gave to a
    tool, `prompts` by the beginning of a prompt and its reply, `responses` replies and `tool_ids`
    tool calls by the provider's id, `declared` by (scope, declared id), `companies` those of only
    side calls by (scope, connection, kind).
    """

    def __init__(self, max_sessions: int, ttl_seconds: float) -> None:
        self.max_sessions = max_sessions
        self.ttl_seconds = ttl_seconds
        self.points: Index[Link, Point] = Index()
        self.units: Index[int, Session] = Index()
        self.replies = NewestReplies()
        self.errands: Index[int, Session] = Index()
        self.prompts: Index[bytes, Session] = Index(PROMPT_OWNERS)
        self.responses: Index[tuple[str, str], Point] = Index()
        self.tool_ids: Index[tuple[str, str], Session] = Index()
        self.declared: Index[tuple[str, str], Session] = Index()
        self.companies: Index[tuple[str, str, str], Session] = Index()
        self.openings = Openings()
        self.trails = Trails()
        self.messages = 0  # of all sessions remembered, and of the longest there has been
        self.longest = 0
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, id: str) -> Session | None:
        """The session with an id, if it is remembered."""
        return self._sessions.get(id)

    def forget(self, id: str) -> None:
        """Forget a session, if it is remembered."""
        if id in self._sessions:
            self._forget(self._sessions[id])

    def replace(self, ids: Iterable[str], other: Memory) -> None:
        """Forget some sessions, and remember instead all that another memory holds."""
        for id in ids:
            self.forget(id)
        for session in other._sessions.values():
            self._sessions[session.id] = session
            self.messages += session.messages
            for index, others in zip(self.indexes(), other.indexes(), strict=True):
                index.take_over(session, others)
        self.longest = max(self.longest, other.longest)
        self.openings.take_over(other.openings)

    def lengthen(self, session: Session, messages: int) -> None:
        """Say how many messages a session has now."""
        self.messages += messages - session.messages
        self.longest = max(self.longest, messages)
        session.messages = messages

    def is_live(self, session: Session, now: float) -> bool:
        """Whether a session has not been silent for too long."""
        return now - session.seen <= self.ttl_seconds

    def newest(self) -> Iterator[Session]:
        """The sessions remembered, the one heard of last first."""
        return reversed(self._sessions.values())

    def live(self, sessions: Iterable[Session], now: float) -> list[Session]:
        """Those of some sessions that are live."""
        return [session for session in sessions if self.is_live(session, now)]

    def answered(self, scope: str, response_id: str, now: float) -> Point | None:
        """The newest reply that the provider gave an id, if its session is live."""
        points = self.responses.get((scope, response_id)) if response_id else []
        live = (point for point in reversed(points) if self.is_live(point.session, now))
        return next(live, None)

    def touch(self, session: Session, now: float) -> None:
        """Say that a session was heard of now; make room if it is new."""
        session.seen = max(session.seen, now)
        self._sessions[session.id] = session
        self._sessions.move_to_end(session.id)
        self._make_room(now)

    def _make_room(self, now: float) -> None:
        for _ in range(EXPIRED_AT_ONCE):
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) <= self.max_sessions and self.is_live(oldest, now):
                return
            self._forget(oldest)

    def what_is_said(self) -> tuple[Index[Any, Any], ...]:
        """The indexes of all but connections, which are this proxy's own."""
        return tuple(index for index in self.indexes() if index is not self.companies)

    def _forget(self, session: Session) -> None:
        del self._sessions[session.id]
        self.messages -= session.messages
        for index in self.indexes():
            index.forget(session)

    def indexes(self) -> tuple[Index[Any, Any], ...]:
        """All indexes of what sessions are found by."""
        return (
            self.points, self.units, self.replies, self.errands, self.prompts, self.responses,
            self.tool_ids, self.declared, self.companies,
        )  # fmt: skip
