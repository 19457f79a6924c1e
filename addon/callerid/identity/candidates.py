"""Headers that look like a session's id, though no row of config/clients.yaml names them.

A header of a client's own that stays the same in every call of a run found by history, and is
another in every other run, probably names the run. It is named to the operator, who may write a
row; it is never trusted by itself.
"""

from __future__ import annotations

from callerid.settings.place import Where, place
from callerid.settings.tables import ClientTable
from callerid.turn import HeaderList

RUNS = 3  # that must agree, each of them twice: less is chance
MAX_WATCHED = 500  # headers of clients at once; those that are settled are forgotten
MAX_SETTLED = 5000
MAX_RUNS = 200  # of one call each, and still no conclusion: it is an id of calls
MIN_LENGTH, MAX_LENGTH = 4, 256


class _Watch:
    """What was seen of one header: the run of each value, and the calls of each run."""

    __slots__ = ("calls", "runs")

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.calls: dict[str, int] = {}

    def agrees(self, value: str, run: str) -> bool:
        """Take in one more call; whether value and run still go together."""
        if self.runs.setdefault(value, run) != run:
            return False
        self.calls[run] = self.calls.get(run, 0) + 1
        return len(self.runs) == len(self.calls)

    @property
    def is_convincing(self) -> bool:
        return sum(calls > 1 for calls in self.calls.values()) >= RUNS


class Candidates:
    """The headers that are being watched."""

    def __init__(self, table: ClientTable) -> None:
        places = [place(written) for row in table.clients for written in row.places()]
        self._known = {each.name for each in places if each.where is Where.HEADER}
        self._watched: dict[tuple[str, str], _Watch] = {}
        self._settled: set[tuple[str, str]] = set()

    def look(self, client: str, headers: HeaderList, run: str) -> list[str]:
        """The headers of which this call has made a candidate; each is named once."""
        found = []
        for name, value in headers:
            key = (client, name.lower())
            if not self._may_name(key[1], value) or key in self._settled:
                continue
            watch = self._watched.get(key) or _Watch()
            if not watch.agrees(value, run) or len(watch.runs) > MAX_RUNS:
                self._settle(key)
            elif watch.is_convincing:
                self._settle(key)
                found.append(key[1])
            elif key in self._watched or len(self._watched) < MAX_WATCHED:
                self._watched[key] = watch
        return found

    def _may_name(self, name: str, value: str) -> bool:
        is_own = name.startswith("x-") and name not in self._known
        return is_own and MIN_LENGTH <= len(value) <= MAX_LENGTH

    def _settle(self, key: tuple[str, str]) -> None:
        self._watched.pop(key, None)
        if len(self._settled) < MAX_SETTLED:
            self._settled.add(key)
