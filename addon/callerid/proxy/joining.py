"""Joins the proxies that share sessions: all of them name customers by one key."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from callerid.dispatch.routes import Routes
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration
from callerid.settings.values import PersistenceSettings
from callerid.sharing.engine import SECONDS_TO_WAIT, Away, Engine
from callerid.sharing.file_engine import FileEngine
from callerid.sharing.sharing import Sharing

KEY = "credential-digest-key"
RETRY_SECONDS = 1.0
EXCHANGE_SECONDS = 2.0
ALONE = "shared sessions ({}): cannot be reached; until they can, this proxy is on its own"
JOINED = "shared sessions ({}): reached now; this proxy shares them"


class Joining:
    """The sharing of sessions, which begins when the key of all proxies is known.

    `use_key` is told it. The first proxy gives the others its own, so that it knows its record.
    """

    def __init__(
        self, make: Callable[[], Engine], sharing: Sharing, own_key: bytes, guard: Guard
    ) -> None:
        self.sharing = sharing
        self.use_key: Callable[[bytes], None] = lambda key: None
        self._make = make
        self._own_key = own_key
        self._guard = guard
        self._task: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Task[None] | None = None

    def at_once(self) -> None:
        """Ask for the key before there is traffic, in a thread; later, where that cannot be."""
        with ThreadPoolExecutor(1) as pool, self._guard("sharing"):
            try:
                key = pool.submit(lambda: asyncio.run(self._ask_aside())).result()
            except Away:
                self._note_alone()
            else:
                self._join(key)

    def start(self) -> None:
        """Connect, in the loop that runs."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._connect())
            self._exchanging = loop.create_task(self._exchange())
            if self.sharing.has_joined:  # it was there a moment ago
                self.sharing.opening = self._task

    def stop(self) -> None:
        """Leave."""
        for task in filter(None, (self._task, self._exchanging)):
            task.cancel()
        self.sharing.close()

    async def _ask_aside(self) -> bytes:
        engine = self._make()
        try:
            await asyncio.wait_for(engine.open(), SECONDS_TO_WAIT)
            return await asyncio.wait_for(engine.claim(KEY, self._own_key, 0), SECONDS_TO_WAIT)
        except TimeoutError:
            raise Away("it did not answer") from None
        finally:
            engine.close()

    async def _connect(self) -> None:
        engine = self.sharing.engine
        while True:
            with self._guard("sharing"):
                try:
                    await engine.open()
                    key = await engine.claim(KEY, self._own_key, 0)
                    was_alone = not self.sharing.has_joined
                    await asyncio.to_thread(self._join, key)
                    if was_alone:
                        self._guard.over("sharing_lost", JOINED.format(engine.place))
                    return
                except Away:
                    self._note_alone()
            await asyncio.sleep(RETRY_SECONDS)

    async def _exchange(self) -> None:
        """Again and again: which sessions were forgotten here, and which elsewhere."""
        while True:
            await asyncio.sleep(EXCHANGE_SECONDS)
            if self.sharing.has_joined:
                with self._guard("sharing"), suppress(Away):  # then it is told later
                    await self.sharing.forgotten.exchange()

    def _note_alone(self) -> None:
        self._guard.note("sharing_lost", ALONE.format(self.sharing.engine.place))

    def _join(self, key: bytes) -> None:
        if not self.sharing.has_joined:
            self.use_key(key)
            self.sharing.has_joined = True


def joining(
    configuration: Configuration, board: Switchboard, routes: Routes, guard: Guard, own_key: bytes
) -> Joining | None:
    """What joins this proxy to others, if the settings say so; raises BadSetting."""
    kept = configuration.settings.session.persistence
    if not kept.is_shared:
        return None
    try:
        sharing = Sharing(
            engine(kept), board, routes, guard, time.time, secrets.token_hex(8),
            deadline=kept.deadline,
            keeps_words=configuration.settings.record.content == "full",
        )  # fmt: skip
    except ValueError as error:  # it does not quote the address, which may hold a password
        raise BadSetting(f"session.persistence.connection cannot be used: {error}") from None
    return Joining(lambda: engine(kept), sharing, own_key, guard)


def engine(kept: PersistenceSettings) -> Engine:
    """The engine that the settings name; raises ValueError."""
    return _ENGINES[kept.backend](kept.connection)


def _file(path: str) -> Engine:
    return FileEngine(Path(path))


def _redis(url: str) -> Engine:
    from callerid.sharing.redis_engine import RedisEngine

    return RedisEngine(url)


def _postgres(address: str) -> Engine:
    from callerid.sharing.postgres_engine import PostgresEngine

    return PostgresEngine(address)


_ENGINES: dict[str, Callable[[str], Engine]] = {
    "file": _file,
    "redis": _redis,
    "postgres": _postgres,
}
