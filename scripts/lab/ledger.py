"""What callerid has written down of the load: was all of it recorded, and recognised?"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from lab.load import Connection, Side, Wrong

_POLL_SECONDS = 0.02
_STILL_SECONDS = 3.0  # nothing new for so long: nothing more is coming
_RECORDED = "select count(*) from calls where state = 'ok'"


class Ledger:
    """Compares a traces.db, while callerid writes it, with what the `sides` have sent.

    `behind` is the longest, in seconds, that the writer took to write what was left of a load.
    """

    def __init__(self, traces: Path) -> None:
        self.sides: list[Side] = []
        self.behind = 0.0
        self._lost = 0
        self._address = f"{traces.as_uri()}?mode=ro"

    def settle(self) -> None:
        """Wait until all calls are recorded, or no more come."""
        sent = self._sent()
        expected = sent - self._lost
        began = newest = time.monotonic()
        recorded = -1
        while recorded < expected and time.monotonic() - newest < _STILL_SECONDS:
            before, recorded = recorded, self._recorded()
            if recorded != before:
                newest = time.monotonic()
            time.sleep(_POLL_SECONDS)
        self.behind = max(self.behind, newest - began)
        self._lost = sent - recorded

    def verdict(self, log: str) -> str:
        """What was recorded, in words; raises Wrong where the log does not explain what was not."""
        sent, recorded = self._sent(), self._recorded()
        held = conversations(self._connections())
        said = f"recorded {recorded:,} of {sent:,} calls"
        if recorded == sent:
            return f"{said}, and took {held:,} conversations for as many sessions"
        if recorded < sent and "a record was dropped" in log:
            return f"{said}; {sent - recorded:,} were dropped, since its writer's queue was full"
        raise Wrong(f"callerid {said}, and does not say why")

    def _connections(self) -> list[Connection]:
        return [each for side in self.sides for each in side.connections]

    def _sent(self) -> int:
        return sum(each.calls for each in self._connections())

    def _recorded(self) -> int:
        try:
            with closing(sqlite3.connect(self._address, uri=True)) as database:
                return int(database.execute(_RECORDED).fetchone()[0])
        except sqlite3.OperationalError as error:
            raise Wrong(f"callerid's traces.db cannot be read: {error}") from None


def conversations(connections: list[Connection]) -> int:
    """How many conversations were held; raises Wrong where one is not one session."""
    pairs = set[tuple[str, bytes]]().union(*(each.sessions for each in connections))
    held = Counter(conversation for conversation, _ in pairs)
    met = Counter(session for _, session in pairs)
    if b"" in met:
        raise Wrong(f"callerid has not said whose call it is in {met[b'']:,} conversations")
    if parted := sum(sessions > 1 for sessions in held.values()):
        raise Wrong(f"callerid took {parted:,} of {len(held):,} conversations for several")
    if joined := sum(talks > 1 for talks in met.values()):
        raise Wrong(f"callerid took several conversations for one, {joined:,} times")
    return len(held)
