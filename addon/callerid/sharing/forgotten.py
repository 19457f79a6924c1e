"""Sessions that people have forgotten at one proxy: the others are told, and forget them too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from callerid.guard import Guard
from callerid.identity.memory import Memory
from callerid.sharing.asking import Asking
from callerid.sharing.engine import Found, Write
from callerid.sharing.held import Holding

FORGOTTEN = "\x01forgotten"  # no session's id: those can be printed
KEPT_SECONDS = 7 * 86400.0  # after the newest was told: a proxy that was cut off hears of it too
AT_ONCE = 1000  # ids in one entry
TRIES = 8  # to tell, while others tell too
HEARD = "{:,} sessions were forgotten at another proxy, and now here; what is on record here stays"


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """Ids, and the name of the proxy that tells of them."""

    teller: str
    ids: list[str]


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(_Row).decode


class Forgotten:
    """Tells what was forgotten here, and forgets what was elsewhere; `name` is this proxy's."""

    def __init__(
        self, asking: Asking, memory: Memory, holding: Holding, guard: Guard, name: str
    ) -> None:
        self._asking = asking
        self._memory = memory
        self._holding = holding
        self._guard = guard
        self._name = name
        self._version = 0
        self._untold: dict[str, None] = {}
        self._exchanging = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._untold)

    def tell(self, ids: Iterable[str]) -> None:
        """Let the others, and the engine, forget some sessions with the next exchange."""
        self._untold |= dict.fromkeys(ids)

    async def exchange(self) -> None:
        """Hear what is new, and tell what was not told yet; raises Away."""
        async with self._exchanging:
            await self._hear()
            while some := list(self._untold)[:AT_ONCE]:
                if not await self._tell(some):
                    return
                # Only now: who finds that the engine has lost a session asks first why it is gone.
                await self._asking.whenever(lambda engine, gone=some: engine.drop(gone))  # type: ignore[misc]
                for id in some:
                    self._untold.pop(id, None)

    async def _tell(self, ids: list[str]) -> bool:
        for _ in range(TRIES):
            row = _write(_Row(self._name, ids))
            writes = [Write(FORGOTTEN, self._version, b"", row, KEPT_SECONDS)]
            if await self._asking.whenever(lambda engine, writes=writes: engine.put(writes)):  # type: ignore[misc]
                self._version += 1
                return True
            if not await self._hear():
                self._version = 0  # the engine has lost it
        return False

    async def _hear(self) -> bool:
        """Forget what others have told of; whether there was anything new."""
        known = {FORGOTTEN: self._version}
        found = await self._asking.whenever(lambda engine: engine.look([], [FORGOTTEN], known))
        for one in found:
            await self._forget(self._new(one))
            self._version = one.version
        return bool(found)

    def _new(self, found: Found) -> set[str]:
        rows = map(_read, found.entries)
        return {id for row in rows if row.teller != self._name for id in row.ids}

    async def _forget(self, ids: set[str]) -> None:
        """Forget sessions; who had them may have told of them anew, and so they are dropped too."""
        sessions = [found for id in ids if (found := self._memory.get(id)) is not None]
        if not sessions:
            return
        for session in sessions:
            self._memory.openings.forget(session)
            self._memory.forget(session.id)
            self._holding.forget(session)
        gone = [session.id for session in sessions]
        await self._asking.whenever(lambda engine: engine.drop(gone))
        self._guard.tell(HEARD.format(len(gone)))
