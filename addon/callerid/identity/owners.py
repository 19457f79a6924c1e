"""Whose each declared id is: that of the customer who declared it first, and nobody else's."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

from callerid.identity.memory import Memory

MOST_PER_SESSION = 4  # declared ids whose owner is remembered, for each session that may live
MOST_MARKS = 4  # on a declared id: who finds all of them taken gets an id of his own
MAX_ID = 255  # characters; Bifrost takes no longer ids
_NO_MARK = re.compile("[^A-Za-z0-9]")


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

    def own(self, wanted: str, scope: str) -> str:
        """A declared id as the customer's: with a mark where another one had it first.

        One with a mark may be declared, too, by whoever has seen it, and so is somebody's.
        """
        if not wanted:
            return ""
        for _ in range(MOST_MARKS):
            known = self._memory.get(wanted)
            owner = self._scopes.setdefault(wanted, known.scope if known else scope)
            self._scopes.move_to_end(wanted)
            if len(self._scopes) > MOST_PER_SESSION * self._memory.max_sessions:
                self._scopes.popitem(last=False)
            if owner == scope:
                return wanted
            wanted = f"{wanted[: MAX_ID - 9]}-{_NO_MARK.sub('', scope)[:8] or 'anyone'}"
        return self._new_id()
