"""Publishes what sessions have come to: at once where a call waits for it, else beside the loop."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from callerid.identity.memory import Memory
from callerid.identity.session import Point, Session
from callerid.identity.switchboard import Turn
from callerid.sharing.agents import AGENTS, SharedAgents
from callerid.sharing.asking import REST_SECONDS, Asking, Late
from callerid.sharing.engine import Away, Found, Write
from callerid.sharing.forgotten import Forgotten
from callerid.sharing.hearing import Hearing
from callerid.sharing.held import Held, Holding
from callerid.sharing.telling import Telling, Told

TRIES = 8  # to tell of a session of which others tell at the same time
AT_ONCE = 200  # sessions told again when the engine is back, before others get their turn


def is_shared(id: str) -> bool:
    """Whether a session of this id can be told of: engines take what can be printed."""
    return id.isprintable()


class Publisher:
    """Tells of sessions, one step after the other for each; `clock` is seconds since the epoch."""

    def __init__(
        self, asking: Asking, telling: Telling, hearing: Hearing, holding: Holding,
        agents: SharedAgents, memory: Memory, clock: Callable[[], float], forgotten: Forgotten,
    ) -> None:  # fmt: skip
        self._asking = asking
        self._telling = telling
        self._hearing = hearing
        self._holding = holding
        self._agents = agents
        self._memory = memory
        self._clock = clock
        self._forgotten = forgotten
        self._untold: dict[str, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._untold)

    def changed(self, session: Session, points: Iterable[Point | None]) -> None:
        """Tell of a session when the loop comes to it; these points may have changed."""
        if not is_shared(session.id):
            return
        held = self._change(session, points)
        self._untold[session.id] = held
        if held.busy is None:
            self._begin(held)

    async def is_busy(self, sessions: Iterable[Session]) -> bool:
        """Whether something of some sessions was not told yet; waits for it. Raises Late."""
        was_busy = False
        for held in filter(None, map(self._holding.known, sessions)):
            if held.is_dirty and held.busy is None:
                self._begin(held)
            if held.busy is not None:
                was_busy = True
                await self._asking.wait(held.busy)
        return was_busy

    async def claim(self, turn: Turn) -> bool:
        """Tell of a turn that has begun; False where somebody was quicker, and it was undone."""
        tolds = [self._telling.of(held, self._clock()) for held in self._changed_by(turn)]
        writes = [*(told.write for told in tolds), *self._agents.write()]
        if not writes:
            return True
        future = self._asking.begun(lambda engine: engine.put(writes))
        free = self._hold(tolds)
        try:
            is_taken = await self._asking.in_time(future)
        except Late:
            future.add_done_callback(lambda came: self._came_late(came, tolds, writes, free))
            return True
        except Away:
            self._failed(tolds)
            free()
            return True
        try:
            if is_taken:
                self._taken(tolds, writes)
                return True
            for told in tolds:
                told.withdraw()
            return not await self._undo(turn, tolds)
        finally:
            free()

    def tell_anew(self, ids: Iterable[str]) -> None:
        """Tell of sessions as they are now, in place of what all have told of them before."""
        ids = [id for id in ids if is_shared(id)]
        self._asking.begun(lambda engine: engine.drop(ids)).add_done_callback(_heed)
        for session in filter(None, map(self._memory.get, ids)):
            self._holding.of(session).begin_anew()
            self.changed(session, [])

    def close(self) -> None:
        """Tell no more."""
        if self._again is not None:
            self._again.cancel()
        for task in self._tasks:
            task.cancel()

    def _changed_by(self, turn: Turn) -> list[Held]:
        """The session of a turn, and the one that it leaves."""
        session, point = turn.session, turn.point
        if session is None or not is_shared(session.id):
            return []
        found = [self._change(session, [point])]
        before = point.before if point is not None else None
        if before is not None and before.session is not session and self._is_there(before.session):
            found.append(self._change(before.session, [before]))
        return found

    def _is_there(self, session: Session) -> bool:
        return self._memory.get(session.id) is session and is_shared(session.id)

    def _change(self, session: Session, points: Iterable[Point | None]) -> Held:
        if self._holding.is_crowded():
            self._holding.keep(lambda id: self._memory.get(id) is not None)
        held = self._holding.of(session)
        held.touch(points)
        held.changes += 1
        held.is_dirty = True
        return held

    def _hold(self, tolds: Sequence[Told]) -> Callable[[], None]:
        """Let others wait until some sessions are free again; how to free them."""
        busy: Future[None] = asyncio.get_running_loop().create_future()
        for told in tolds:
            told.held.busy = busy

        def free() -> None:
            busy.set_result(None)
            for told in tolds:
                told.held.busy = None
                if told.held.is_dirty:
                    self._untold[told.held.session.id] = told.held
                    self._begin(told.held)

        return free

    def _taken(self, tolds: Iterable[Told], writes: Iterable[Write]) -> None:
        for told in tolds:
            told.note()
        self._agents.note(writes)

    def _failed(self, tolds: Iterable[Told]) -> None:
        for told in tolds:
            told.withdraw()

    def _came_late(
        self, came: Future[bool], tolds: list[Told], writes: list[Write], free: Callable[[], None]
    ) -> None:
        if not came.cancelled() and came.exception() is None and came.result():
            self._taken(tolds, writes)
        else:
            self._failed(tolds)
        free()

    async def _undo(self, turn: Turn, tolds: list[Told]) -> bool:
        """Take back what was decided, and take in what others have told; False if it has to stay.

        It stays where they cannot be asked now; it is then joined with theirs.
        """
        ids = [*(told.write.id for told in tolds), AGENTS]
        try:
            found = {one.id: one for one in await self._asking.look([], ids, {})}
        except (Late, Away):
            return False
        self._agents.undo([found.pop(AGENTS)] if AGENTS in found else [])
        for told in tolds:
            held = told.held
            if not turn.is_known and held.session is turn.session:
                self._memory.openings.forget(held.session)
                self._memory.forget(held.session.id)
                self._holding.forget(held.session)
                held.is_dirty = False
            elif held.session.id in found:
                self._hearing.begin_anew(held)
            else:
                await self._lost(held)
        self._hearing.take_in(found.values())
        return True

    def _begin(self, held: Held) -> None:
        loop = asyncio.get_running_loop()
        if not self._asking.is_there:
            self._later()
            return
        task = loop.create_task(self._settle(held))
        held.busy = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, held: Held) -> None:
        """Tell of a session until all is told."""
        id = held.session.id
        try:
            with self._asking.guard("sharing"), suppress(Away):  # it is told later
                await self._settled(held)
        finally:
            held.busy = None
            if not held.is_dirty and self._untold.get(id) is held:
                del self._untold[id]
            elif held.is_dirty:
                self._later()

    async def _settled(self, held: Held) -> None:
        for _ in range(TRIES):
            if self._memory.get(held.session.id) is not held.session:
                held.is_dirty = False  # it was forgotten meanwhile
            if not held.is_dirty:
                return
            told = self._telling.of(held, self._clock())
            try:
                is_taken = await self._put(told.write)
            except BaseException:
                told.withdraw()
                raise
            if is_taken:
                told.note()
            else:
                told.withdraw()
                await self._catch_up(held)

    async def _put(self, write: Write) -> bool:
        return await self._asking.whenever(lambda engine: engine.put([write]))

    async def _look(self, id: str, known: dict[str, int]) -> list[Found]:
        return await self._asking.whenever(lambda engine: engine.look([], [id], known))

    async def _catch_up(self, held: Held) -> None:
        """Take in what others have told of a session, and join it with what was not told yet."""
        id = held.session.id
        found = await self._look(id, {id: held.version} if held.version else {})
        if found and self._hearing.take_in(found):
            found = await self._look(id, {})
            self._hearing.take_in(found)
        if not found:
            await self._lost(held)

    async def _lost(self, held: Held) -> None:
        """The engine has lost a session: it is told all of it, should nobody have forgotten it."""
        held.begin_anew()
        with suppress(Away):
            await self._forgotten.exchange()

    def _later(self) -> None:
        """Tell of what is left when the engine may be back."""
        if self._again is None:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(REST_SECONDS, self._tell_again)

    def _tell_again(self) -> None:
        self._again = None
        if not self._asking.is_there:
            self._later()
            return
        waiting = [held for held in self._untold.values() if held.busy is None]
        for held in waiting[:AT_ONCE]:
            self._begin(held)
        if len(waiting) > AT_ONCE:
            self._later()


def _heed(future: Future[None]) -> None:
    """Nobody waits for it; it may fail."""
    if not future.cancelled():
        future.exception()
