"""Asks an engine, and waits no longer than a deadline; one that is away is left alone a while."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import TypeVar

from callerid.guard import Guard
from callerid.sharing.engine import Away, Engine, Found, Write

LATE = "what proxies share did not answer in time; this proxy goes by what it knows itself"
LOST = "what proxies share cannot be reached; this proxy goes by what it knows itself"
REST_SECONDS = 1.0  # for which it is not waited for after it was away, or late so many times
MOST_LATE = 3  # times, one after the other

Answer = TypeVar("Answer")


class Late(Exception):
    """The engine has not answered in time."""


class Asking:
    """An engine that is asked with a deadline (seconds, for each answer)."""

    def __init__(self, engine: Engine, deadline: float, guard: Guard) -> None:
        self.engine = engine
        self._deadline = deadline
        self._guard = guard
        self._late = 0
        self._rests_until = float("-inf")

    @property
    def is_there(self) -> bool:
        """Whether it is worth asking now."""
        return asyncio.get_running_loop().time() >= self._rests_until

    async def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> list[Found]:
        """What the engine finds; raises Late and Away."""
        return await self.within(self.engine.look(names, ids, known))

    async def put(self, writes: Sequence[Write]) -> bool:
        """Whether the engine has taken it; raises Late and Away."""
        return await self.within(self.engine.put(writes))

    async def within(self, future: Future[Answer]) -> Answer:
        """What comes of a question in time; raises Late and Away.

        What the loop has read counts as in time, however long it was busy otherwise.
        """
        loop = asyncio.get_running_loop()
        waiter: Future[None] = loop.create_future()

        def wake(_: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        def give_up() -> None:
            if not future.done():
                wake(None)

        future.add_done_callback(wake)
        timer = loop.call_later(self._deadline, give_up)
        try:
            await waiter
        finally:
            timer.cancel()
        if not future.done():
            future.add_done_callback(_heed)
            self._was_late()
            raise Late
        try:
            answer = future.result()
        except Away:
            self._guard.note("sharing_lost", LOST)
            self._rest()
            raise
        self._late = 0
        return answer

    def _was_late(self) -> None:
        self._guard.note("sharing_late", LATE)
        self._late += 1
        if self._late >= MOST_LATE:
            self._late = 0
            self._rest()

    def _rest(self) -> None:
        self._rests_until = asyncio.get_running_loop().time() + REST_SECONDS


def _heed(future: Future[Answer]) -> None:
    """Nobody waits for it any more; it may still fail."""
    if not future.cancelled():
        future.exception()
