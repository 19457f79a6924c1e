"""Whose each declared id is: that of the customer who declared it first, and nobody else's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b

from callerid.identity.memory import Memory

MOST_PER_SESSION = 4  # declared ids whose owner is remembered, for each session that may live
MOST_MARKS = 16  # tried for a declared id: who finds all taken gets an id of his own
MAX_ID = 255  # characters; Bifrost takes no longer ids
MARK_BYTES = 6
SOMEBODY = "somebody else"  # the scope of who is not known by any more


class Owners:
    """The scope that each declared id is of.

    Remembered for longer than the sessions, or ids would change hands. `new_id` makes ids that
    nobody has.
    """

    def __init__(self, memory: Memory, new_id: Callable[[], str]) -> None:
        self._memory = memory
        self._new_id = new_id
        self._scopes: OrderedDict[str, str] = OrderedDict()

    def beside(self, memory: Memory) -> Owners:
        """Others who know the same, and learn by themselves."""
        other = Owners(memory, self._new_id)
        other._scopes = self._scopes.copy()
        return other

    def owned(self, id: str, scope: str) -> None:
        """Say whose a declared id is."""
        self._scopes[id] = scope

    def restored(self, said: str, id: str, scope: str) -> None:
        """Take in what is on record: the id that a customer had, and the one that was declared."""
        self._first(id, scope)
        if id == marked(said, scope):
            self._first(said, SOMEBODY)

    def own(self, wanted: str, scope: str) -> str:
        """A declared id as the customer's: with a mark where another one had it first.

        One with a mark may be declared, too, by whoever has seen it, and so is somebody's.
        """
        for id in spellings(wanted, scope):
            if self._first(id, scope) == scope:
                return id
        return self._new_id()

    def claimant(self, id: str, scope: str) -> str:
        """Whose an id is if nobody has said: a live session's customer's, or else this one's."""
        known = self._memory.get(id)
        return known.scope if known else scope

    def _first(self, id: str, scope: str) -> str:
        owner = self._scopes.setdefault(id, self.claimant(id, scope))
        self._scopes.move_to_end(id)
        if len(self._scopes) > MOST_PER_SESSION * self._memory.max_sessions:
            self._scopes.popitem(last=False)
        return owner


def spellings(id: str, scope: str) -> Iterator[str]:
    """An id as it is declared, and with one mark more each time."""
    for _ in range(MOST_MARKS):
        yield id
        id = marked(id, scope)


def marked(id: str, scope: str) -> str:
    """An id that another customer had first, with a mark by which it is this one's."""
    mark = blake2b(f"{scope} {id}".encode("utf-8", "surrogateescape"), digest_size=MARK_BYTES)
    return f"{id[: MAX_ID - 2 * MARK_BYTES - 1]}-{mark.hexdigest()}"
