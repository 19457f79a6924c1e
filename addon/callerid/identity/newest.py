"""Finds sessions by a sketch of the newest reply that they were given.

A reply is sketched when somebody looks for one, which most calls do not: a session that goes on as
before is found by its history, and its next reply takes the place of this one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set

from callerid.identity import history as histories
from callerid.identity import sketch
from callerid.identity.index import Index
from callerid.identity.session import Session

# Not yet sketched: so many replies, and only short ones. Together they take some milliseconds.
MOST_WAITING = 16
MOST_CHARACTERS = 4000  # of a reply and of what it may repeat


class NewestReplies(Index[int, Session]):
    """An index of sessions by the sketch of their newest reply."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: OrderedDict[str, tuple[Session, str, str]] = OrderedDict()

    def keep(self, session: Session, text: str, besides: str) -> None:
        """Let a session be found by a reply, but not by words in it that stand in another text."""
        self.forget(session)
        if len(text) + len(besides) > MOST_CHARACTERS:
            self._sketch(session, text, besides)
            return
        self._waiting[session.id] = session, text, besides
        if len(self._waiting) > MOST_WAITING:
            self._sketch(*self._waiting.popitem(last=False)[1])

    def get(self, name: int) -> list[Session]:
        """All sessions that go by a number of a sketch."""
        self._sketch_waiting()
        return super().get(name)

    def known(self, names: Set[int]) -> Set[int]:
        """Those of some numbers that are in any sketch."""
        self._sketch_waiting()
        return super().known(names)

    def numbers(self, session: Session) -> tuple[int, ...]:
        """The sketch that a session's newest reply is found by."""
        if session.id in self._waiting:
            self._sketch(*self._waiting.pop(session.id))
        return self.names_since(session, 0)

    def take_over(self, session: Session, other: Index[int, Session]) -> None:
        """Let a session be found here by the reply that it is found by in another index."""
        super().take_over(session, other)
        if isinstance(other, NewestReplies) and session.id in other._waiting:
            self.keep(*other._waiting[session.id])

    def forget(self, session: Session) -> None:
        """Take away a session's reply."""
        self._waiting.pop(session.id, None)
        super().forget(session)

    def _sketch_waiting(self) -> None:
        while self._waiting:
            self._sketch(*self._waiting.popitem(last=False)[1])

    def _sketch(self, session: Session, text: str, besides: str) -> None:
        salt = histories.salt(histories.beginning(session.scope))
        for number in sketch.sketch(text, salt, besides):
            self.add(session, number, session)
