"""An index of memory: what goes by a name, and whose it is, so that it can be forgotten."""

from __future__ import annotations

from collections.abc import Hashable, Set
from typing import Generic, TypeVar

from callerid.identity.session import Point, Session

MAX_OWNERS = 16  # kept per name: what more sessions than these have said proves nothing

Name = TypeVar("Name", bound=Hashable)
Owner = TypeVar("Owner")


class Index(Generic[Name, Owner]):
    """Finds, by a name, what goes by it (the newest last), and forgets by session.

    Most names have one owner, which is kept without a list around it: there are many names.
    """

    def __init__(self, most_owners: int = MAX_OWNERS) -> None:
        self._most_owners = most_owners
        self._found: dict[Name, Owner | list[Owner]] = {}
        self._names: dict[str, tuple[Name, ...]] = {}

    def add(self, session: Session, name: Name, owner: Owner) -> None:
        """Let a name find an owner, on behalf of a session; the oldest of too many goes."""
        found = self._found.get(name)
        if found is None:
            self._found[name] = owner
        elif isinstance(found, list):
            if owner in found:
                return
            found.append(owner)
            del found[: -self._most_owners]
        elif found is owner:
            return
        else:
            self._found[name] = [found, owner]
        self._names[session.id] = (*self._names.get(session.id, ()), name)

    def get(self, name: Name) -> list[Owner]:
        """All that goes by a name."""
        found = self._found.get(name)
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    def known(self, names: Set[Name]) -> Set[Name]:
        """Those of some names that anything goes by."""
        return self._found.keys() & names

    def names(self, session: Session) -> set[Name]:
        """The names that were added on behalf of a session."""
        return set(self._names.get(session.id, ()))

    def names_since(self, session: Session, count: int) -> tuple[Name, ...]:
        """The names of a session without the first ones, so many, in the order of their coming."""
        return self._names.get(session.id, ())[count:]

    def count(self, session: Session) -> int:
        """How many names were added on behalf of a session."""
        return len(self._names.get(session.id, ()))

    def forget(self, session: Session) -> None:
        """Take away all that was added on behalf of a session."""
        for name in self._names.pop(session.id, ()):
            self._part(name, session)

    def take_over(self, session: Session, other: Index[Name, Owner]) -> None:
        """Let all that another index finds on behalf of a session be found here too."""
        for name in other._names.get(session.id, ()):
            for owner in other.get(name):
                if _session_of(owner) is session:
                    self.add(session, name, owner)

    def drop(self, session: Session, names: Set[Name]) -> None:
        """Take away some of the names that were added on behalf of a session."""
        had = self._names.get(session.id, ())
        self._names[session.id] = tuple(name for name in had if name not in names)
        for name in names:
            self._part(name, session)

    def drop_all_but(self, session: Session, newest: int) -> None:
        """Take away the oldest names of a session, but for so many."""
        names = self._names.get(session.id, ())
        self.drop(session, set(names[:-newest]) - set(names[-newest:]))

    def _part(self, name: Name, session: Session) -> None:
        """Let a name no longer find what it finds on behalf of a session."""
        found = self._found.get(name)
        if not isinstance(found, list):
            if found is not None and _session_of(found) is session:
                del self._found[name]
            return
        left = [owner for owner in found if _session_of(owner) is not session]
        if len(left) > 1:
            self._found[name] = left
        elif left:
            self._found[name] = left[0]
        else:
            del self._found[name]


def _session_of(owner: object) -> object:
    return owner.session if isinstance(owner, Point) else owner
