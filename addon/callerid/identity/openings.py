"""Conversations that have just begun, and side calls about them: which come first is chance.

A client that wants a title, or asks a router, sends the person's first words along. Where no id
says whose they are, these words do: for as long as a first call may take, and no longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from callerid.identity.session import Session

KEPT = 128  # openings remembered at once, of each of the two sorts
FRESH_SECONDS = 120.0
MIN_QUOTE = 16  # characters: shorter words must be all that a line says
TEXT_KEPT = 8_000  # characters of what a side call says
_QUOTED = " \t\"'`“”‘’<>"


class Opening(NamedTuple):
    """The first words of a session, and when they came."""

    session: Session
    text: str
    at: float


class Openings:
    """The newest openings of conversations, and of sessions that only side calls belong to."""

    def __init__(self) -> None:
        self._begun: deque[Opening] = deque(maxlen=KEPT)
        self._asides: deque[Opening] = deque(maxlen=KEPT)

    def begins(self, session: Session, text: str, now: float) -> None:
        """A conversation opened with these words."""
        if text:
            self._begun.append(Opening(session, text[:TEXT_KEPT], now))

    def is_asked(self, session: Session, text: str, now: float) -> None:
        """A side call that said this opened a session of its own."""
        if text:
            self._asides.append(Opening(session, text[:TEXT_KEPT], now))

    def of(self, session: Session) -> tuple[bool, Opening] | None:
        """The words of a session that has opened last of all, and whether it is a conversation."""
        for is_begun, found in ((True, self._begun), (False, self._asides)):
            if found and found[-1].session is session:
                return is_begun, found[-1]
        return None

    def heard(self, opening: Opening, *, is_begun: bool) -> None:
        """Remember the words with which a session opened elsewhere."""
        found = self._begun if is_begun else self._asides
        if any(one.session is opening.session for one in found):
            return
        later = []
        while found and found[-1].at > opening.at:
            later.append(found.pop())
        found.append(opening)
        found.extend(reversed(later))

    def forget(self, session: Session) -> None:
        """Forget the words of a session that there is not."""
        self._begun = deque((o for o in self._begun if o.session is not session), maxlen=KEPT)
        self._asides = deque((o for o in self._asides if o.session is not session), maxlen=KEPT)

    def sessions(self, scope: str, *, begun: bool) -> list[Session]:
        """The sessions of one customer whose openings are remembered."""
        found = self._begun if begun else self._asides
        return [one.session for one in found if one.session.scope == scope]

    def take_over(self, other: Openings) -> None:
        """Remember those of another; a session that it has, too, is only that one."""
        self._begun = _joined(self._begun, other._begun)
        self._asides = _joined(self._asides, other._asides)

    def quoted_by(self, text: str, scope: str, now: float) -> list[Session]:
        """The conversations whose opening a side call quotes, the newest last."""
        text = text[:TEXT_KEPT]
        return [
            one.session
            for one in self._begun
            if _is_fresh(one, scope, now) and _quotes(text, one.text)
        ]

    def asides_on(self, text: str, scope: str, now: float) -> list[Session]:
        """The sessions of side calls alone which quote an opening, the newest last."""
        if not text:
            return []
        return [
            one.session
            for one in self._asides
            if one.session.head is None
            and _is_fresh(one, scope, now)
            and _quotes(one.text, text[:TEXT_KEPT])
        ]


def first_words(opening: Iterable[str]) -> str:
    """What the person said first: clients put blocks of their own before it."""
    return next(filter(None, reversed(list(opening))), "")


def _joined(ours: deque[Opening], others: deque[Opening]) -> deque[Opening]:
    ids = {one.session.id for one in others}
    kept = [one for one in ours if one.session.id not in ids]
    return deque(sorted([*kept, *others], key=lambda one: one.at), maxlen=KEPT)


def _is_fresh(opening: Opening, scope: str, now: float) -> bool:
    return opening.session.scope == scope and now - opening.at <= FRESH_SECONDS


def _quotes(text: str, opening: str) -> bool:
    if len(opening) >= MIN_QUOTE:
        return opening in text
    return any(line.strip(_QUOTED) == opening for line in text.splitlines())
