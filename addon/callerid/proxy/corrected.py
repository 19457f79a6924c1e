"""Takes in what people correct while the proxy runs: it looks at traces.db every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.traces.restore import Corrections

LOOK_SECONDS = 2.0


class Corrected:
    """Lets memory follow the record where a person corrected that.

    The sessions concerned are forgotten and read again from the record, a call at a time, so that
    nothing waits for it; not while one of them has a call under way. `is_busy` says which have.
    """

    def __init__(
        self, path: Path, switchboard: Switchboard, is_busy: Callable[[str], bool], guard: Guard
    ) -> None:
        self._corrections = Corrections(path)
        self._board = switchboard
        self._is_busy = is_busy
        self._guard = guard
        self._task: asyncio.Task[None] | None = None

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
        waiting: set[str] = set()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with self._guard("corrections"):
                waiting |= await asyncio.to_thread(self._corrections.new)
                if waiting and not any(map(self._is_busy, waiting)):
                    await self._take_in(waiting)
                    self._guard.tell(f"a person corrected {len(waiting)} sessions: taken in")
                    waiting = set()

    async def _take_in(self, ids: set[str]) -> None:
        for id in ids:
            self._board.memory.forget(id)
        for _ in self._corrections.restored(ids, self._board, self._guard):
            await asyncio.sleep(0)
