"""Asks an engine, and waits no longer than a deadline; one that is away is left alone a while."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from callerid.guard import Guard
from callerid.sharing.engine import Away, Engine, Found, Write

LATE = "shared sessions ({}): no answer in time; this proxy goes by what it knows itself"
LOST = "shared sessions ({}): cannot be reached; this proxy goes by what it knows itself"
BACK = "shared sessions ({}): back again; the others are told what they have missed"
QUIET_SECONDS = 60.0  # between two times that it is said to be back
REST_SECONDS = 1.0  # for which it is not waited for after it was away, or late so many times
MOST_LATE = 3  # times, one after the other

Answer = TypeVar("Answer")
Question: TypeAlias = Callable[[Engine], Future[Answer]]


class Late(Exception):
    """The engine has not answered in time."""


class Asking:
    """An engine that is asked with a deadline (seconds, for each answer).

    Whatever it raises is Away to who has asked; what is no Away is our fault, and counted as such.
    """

    def __init__(self, engine: Engine, deadline: float, guard: Guard) -> None:
        self.engine = engine
        self.guard = guard
        self._deadline = deadline
        self._late = 0
        self._is_lost = False
        self._said_back = float("-inf")
        self._rests_until = float("-inf")

    @property
    def is_there(self) -> bool:
        """Whether it is worth asking now."""
        return asyncio.get_running_loop().time() >= self._rests_until

    async def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> list[Found]:
        """What the engine finds; raises Late and Away."""
        return await self.within(lambda engine: engine.look(names, ids, known))

    async def put(self, writes: Sequence[Write]) -> bool:
        """Whether the engine has taken it; raises Late and Away."""
        return await self.within(lambda engine: engine.put(writes))

    def begun(self, ask: Question[Answer]) -> Future[Answer]:
        """A question to the engine, begun; it raises nothing here."""
        with self.guard("sharing"):
            return ask(self.engine)
        failed: Future[Answer] = asyncio.get_running_loop().create_future()
        failed.set_exception(Away("it could not be asked"))
        return failed

    async def whenever(self, ask: Question[Answer]) -> Answer:
        """What comes of a question, however long that takes; raises Away."""
        future = self.begun(ask)
        await asyncio.wait({future})
        return self._answer(future)

    async def within(self, ask: Question[Answer]) -> Answer:
        """What comes of a question in time; raises Late and Away."""
        return await self.in_time(self.begun(ask))

    async def in_time(self, future: Future[Answer]) -> Answer:
        """What comes of a question that was begun, in time; raises Late and Away."""
        await self.wait(future)
        try:
            answer = self._answer(future)
        except Away:
            self.guard.note("sharing_lost", LOST.format(self.engine.place))
            self._rest()
            raise
        self._late = 0
        return answer

    async def wait(self, future: Future[Answer]) -> None:
        """Wait until something is done; raises Late.

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

    def _answer(self, future: Future[Answer]) -> Answer:
        """What has come; raises Away. Says so when the engine is back again."""
        error = future.exception()
        if error is None:
            self._is_back()
            return future.result()
        self._is_lost = True
        if isinstance(error, Exception) and not isinstance(error, Away):
            self.guard.catch("sharing", error)
            raise Away("it failed") from None
        raise error

    def _is_back(self) -> None:
        if not self._is_lost:
            return
        self._is_lost, now = False, asyncio.get_running_loop().time()
        if now - self._said_back >= QUIET_SECONDS:
            self._said_back = now
            self.guard.over("sharing_lost", BACK.format(self.engine.place))

    def _was_late(self) -> None:
        self.guard.note("sharing_late", LATE.format(self.engine.place))
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
