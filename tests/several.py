"""Several proxies that share sessions by an engine, as one: another takes each call."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from callerid.dispatch.routes import Routes
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard, Turn
from callerid.prices import Prices
from callerid.settings.load import Configuration, load
from callerid.sharing.engine import Engine
from callerid.sharing.file_engine import FileEngine
from callerid.sharing.postgres_engine import PostgresEngine
from callerid.sharing.redis_engine import RedisEngine
from callerid.sharing.sharing import Sharing
from callerid.traces.restore import restore
from callerid.traces.rows import Entry, State
from callerid.traces.write import Writer
from callerid.turn import Reply, Request, Timing

PATIENCE_SECONDS = 10.0
Answer = TypeVar("Answer")
MakeEngine = Callable[[], Engine]


def engine_maker(backend: str, folder: Path, request: pytest.FixtureRequest) -> MakeEngine:
    """What makes engines of a backend that hold the same, and nothing yet."""
    if backend == "file":
        return lambda: FileEngine(folder / "shared.db")
    if backend == "redis":
        url, prefix = request.getfixturevalue("redis_server").url, f"{uuid.uuid4().hex}:"
        return lambda: RedisEngine(url, prefix)
    url, schema = request.getfixturevalue("postgres_server").url, f"t{uuid.uuid4().hex}"
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {schema}".encode())
    return lambda: PostgresEngine(f"{url}?options=-csearch_path%3D{schema}")


class Several:
    """So many proxies, which take calls in turn."""

    def __init__(
        self, make: MakeEngine, count: int, configuration: Configuration | None = None, *,
        deadline: float = PATIENCE_SECONDS, keeps_words: bool = True,
    ) -> None:  # fmt: skip
        self.loop = asyncio.new_event_loop()
        self.guard = Guard()
        self._make = make
        self._configuration = configuration or load()
        self._deadline = deadline
        self._keeps_words = keeps_words
        serial = itertools.count()
        self._new_id = lambda prefix: f"{prefix}_{next(serial):06d}"
        self.boards: list[Switchboard] = []
        self.sharing: list[Sharing] = []
        self.engines: list[Engine] = []
        for _ in range(count):
            self.begin()
        self.reader = self.boards[0].reader
        self._taken_by: dict[int, tuple[int, Turn]] = {}
        self._turns = itertools.count()

    def begin(self) -> int:
        """One proxy more."""
        board, engine = Switchboard(self._configuration, self._new_id), self._make()
        self.run(engine.open())
        sharing = Sharing(
            engine, board, Routes(self._configuration.settings.routing), self.guard, time.time,
            f"proxy-{len(self.boards)}", deadline=self._deadline, keeps_words=self._keeps_words,
        )  # fmt: skip
        sharing.has_joined = True
        self.boards.append(board)
        self.sharing.append(sharing)
        self.engines.append(engine)
        return len(self.boards) - 1

    def run(self, what: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(asyncio.wait_for(what, PATIENCE_SECONDS))

    def take(self, request: Request, now: float, by: int | None = None) -> Turn | None:
        """A call, taken by the next proxy (or a certain one)."""
        turn = self.run(self.taking(request, now, by))
        self.settle()
        return turn

    async def taking(self, request: Request, now: float, by: int | None = None) -> Turn | None:
        at = next(self._turns) % len(self.boards) if by is None else by
        call = self.boards[at].read(request)
        if call is None:
            return None
        turn = await self.sharing[at].identify(request, call, now)
        self._taken_by[id(turn)] = at, turn
        return turn

    def answer(
        self, turn: Turn, reply: Reply | None, now: float, *, has_failed: bool = False
    ) -> None:
        """The reply to a call, heard by the proxy that took it."""
        at, _ = self._taken_by[id(turn)]
        turn = self.sharing[at].as_known(turn)
        self.boards[at].answer(turn, reply, now, has_failed=has_failed)

        async def tell() -> None:
            self.sharing[at].told(turn)

        self.run(tell())
        self.settle()

    def settle(self) -> None:
        """Wait until all proxies have told what they know."""

        async def quiet() -> None:
            while any(len(one.publisher) for one in self.sharing):
                await asyncio.sleep(0.0005)

        self.run(quiet())

    def close(self) -> None:
        async def end() -> None:
            for one in self.sharing:
                one.close()
            await asyncio.sleep(0)

        self.run(end())
        self.loop.close()


class Skewed(Several):
    """Their clocks differ: that of the first is slow, that of the third fast."""

    SECONDS = (-30.0, 0.0, 30.0)

    async def taking(self, request: Request, now: float, by: int | None = None) -> Turn | None:
        at = next(self._turns) % len(self.boards) if by is None else by
        return await super().taking(request, now + self.SECONDS[at], at)

    def answer(
        self, turn: Turn, reply: Reply | None, now: float, *, has_failed: bool = False
    ) -> None:
        """The reply to a call, heard by the proxy that took it."""
        at, _ = self._taken_by[id(turn)]
        super().answer(turn, reply, now + self.SECONDS[at], has_failed=has_failed)


class Strangers(Several):
    """Each call is taken by a proxy that has just begun."""

    def take(self, request: Request, now: float, by: int | None = None) -> Turn | None:
        """A call, taken by a new proxy."""
        return super().take(request, now, self.begin() if by is None else by)


class Restarted:
    """One proxy, restarted before each call: what it knows it has read from its traces.db."""

    def __init__(self, path: Path, configuration: Configuration) -> None:
        self._path = path
        self._configuration = configuration
        serial = itertools.count()
        self._new_id = lambda prefix: f"{prefix}_{next(serial):06d}"
        self._calls = itertools.count()
        self._writer = Writer(path, Prices(configuration.prices))
        self._begun: dict[int, tuple[Turn, Entry]] = {}
        self.guard = Guard()
        self.reader = Switchboard(configuration, self._new_id).reader

    def take(self, request: Request, now: float) -> Turn | None:
        """A call, taken after a restart."""
        board = Switchboard(self._configuration, self._new_id)
        restore(self._path, board, self.guard, now)
        turn = board.take(request, now)
        assert turn is not None
        name, size = f"call_{next(self._calls):06}", len(request.body)
        entry = Entry(name, request, turn.call, turn.identity, "", (), Timing(now), size)
        assert self._writer.write([entry]) == ""
        self._begun[id(turn)] = turn, entry
        return turn

    def answer(self, turn: Turn, reply: Reply, now: float, *, has_failed: bool) -> None:
        """The reply to a call, put on record."""
        _, entry = self._begun[id(turn)]
        state = State.ERROR if has_failed else State.OK
        began = entry.timing.started
        ended = msgspec.structs.replace(
            entry, timing=Timing(began, now, now), state=state, reply=reply,
            status=529 if has_failed else 200,
        )  # fmt: skip
        assert self._writer.write([ended]) == ""

    def close(self) -> None:
        self._writer.close()
