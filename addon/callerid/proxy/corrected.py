"""Takes in what people correct while the proxy runs: it looks at traces.db every few seconds."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from callerid.archive import heeding
from callerid.archive.heeding import Made
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.traces.restore import restore_sessions

LOOK_SECONDS = 2.0
MOST_SECONDS = 30.0  # a call that hangs holds up what corrects its session for so long


class _Waiting:
    """A correction that is to be taken in: twice, as calls were recorded in between."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.ids = {made.session_id, made.other_session_id}
        self.since = time.monotonic()
        self.is_taken_in = False

    @property
    def is_late(self) -> bool:
        return not self.is_taken_in and time.monotonic() - self.since > MOST_SECONDS


class Corrected:
    """Lets memory follow the record where a person corrected that.

    The sessions concerned are read again from the record, in a thread and into a memory of their
    own, and then take the place of those remembered, all at once; not while one of them has a call
    under way, unless that takes too long. `is_busy` says which have. Until then calls are recorded
    as they were identified: the record is corrected again each time. `names` are those that people
    gave sessions, by their ids.
    """

    def __init__(
        self, path: Path, switchboard: Switchboard, is_busy: Callable[[str], bool], guard: Guard
    ) -> None:
        self._path = path
        self._board = switchboard
        self._is_busy = is_busy
        self._guard = guard
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[_Waiting] = []
        self.on_taken_in: Callable[[set[str]], None] = lambda ids: None
        self._seen = 0
        self._seen = self._newest()
        self.names = self._named()

    def start(self) -> None:
        """Begin to look, in the loop that runs; again and again until `stop`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with self._guard("corrections"):
                await self.look()

    async def look(self) -> None:
        """Take in what can be; raises BadDatabase."""
        newest = await asyncio.to_thread(self._newest)
        if self._waiting or newest != self._seen:
            known = [one.made for one in self._waiting]
            made = await asyncio.to_thread(heeding.heeded, self._path, self._seen, known)
            new = made[len(known) :]
            self._waiting += [_Waiting(one) for one in new if one.kind != "rename"]
            await self._learn_names()
            self._seen = new[-1].number if new else newest
        for one in self._waiting[:]:
            with self._guard("corrections"):
                await self._take_in(one)

    async def _take_in(self, one: _Waiting) -> None:
        if any(map(self._is_busy, one.ids)) and not one.is_late:
            return
        before, aside = self._calls(one), self._board.beside()
        await asyncio.to_thread(restore_sessions, self._path, one.ids, aside, self._guard)
        is_over = not any(map(self._is_busy, one.ids)) and self._calls(one) == before
        if not is_over and not one.is_late:
            return  # somebody called meanwhile
        self._board.memory.replace(one.ids, aside.memory)
        self.on_taken_in(one.ids)
        if one.is_taken_in:
            self._waiting.remove(one)
        else:
            one.is_taken_in = True
            self._guard.tell(f"a person's {one.made.kind} of {one.made.session_id} was taken in")

    async def _learn_names(self) -> None:
        known = await asyncio.to_thread(self._named)
        self.names.clear()  # others hold the same one
        self.names.update(known)

    def _calls(self, one: _Waiting) -> list[int]:
        """How many calls of each session concerned are remembered."""
        found = map(self._board.memory.get, sorted(one.ids))
        return [session.calls if session else 0 for session in found]

    def _newest(self) -> int:
        """The newest there is; a file that is gone, or locked, has none that are new."""
        try:
            return heeding.newest(self._path)
        except sqlite3.Error:
            return self._seen

    def _named(self) -> dict[str, str]:
        try:
            return heeding.names(self._path)
        except sqlite3.Error:
            return {}
