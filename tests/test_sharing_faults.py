"""An engine of shared sessions that breaks at any point: traffic goes on, and it is counted."""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Future
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callerid.identity.switchboard import Turn
from callerid.proxy.joining import Joining
from callerid.sharing.engine import Away, Found
from callerid.sharing.file_engine import FileEngine
from lab.servers import RedisServer
from several import Several
from test_sharing import HELLO, SAID, asks, is_back, reply, session

METHODS = ("look", "put", "claim")
MORE = {"user": "And the Po?"}


class Bug(Exception):
    """What no engine should raise."""


def raises(_: Any) -> Any:
    raise Bug("it is broken")


def fails(_: Any) -> Any:
    future: Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(Bug("it is broken"))
    return future


def is_away(_: Any) -> Any:
    future: Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(Away("it is gone"))
    return future


def hangs(_: Any) -> Any:
    """For so long that nobody waits; then its connection is cut, as every engine promises."""
    future: Future[Any] = asyncio.get_running_loop().create_future()
    cut = lambda: future.done() or future.set_exception(Away("it was cut"))  # noqa: E731
    asyncio.get_running_loop().call_later(0.3, cut)
    return future


def nonsense(asked: str) -> Any:
    future: Future[Any] = asyncio.get_running_loop().create_future()
    found = [Found("sess_x", 1, 0, b"\xc1 no head", [b"\xc1"])]
    future.set_result({"look": found, "put": None, "claim": b"\xff"}[asked])
    return future


WAYS: dict[str, Callable[[str], Any]] = {
    each.__name__: each for each in (raises, fails, is_away, hangs, nonsense)
}


class Broken:
    """An engine of which one method is broken, until it is mended."""

    def __init__(self, path: Path) -> None:
        self._engine = FileEngine(path)
        self.place = str(path)
        self.broken = ""
        self.way = raises

    def __getattr__(self, name: str) -> Any:
        if name in ("open", "drop", "close"):
            return getattr(self._engine, name)

        def ask(*words: Any) -> Any:
            works = getattr(self._engine, name)
            return self.way(name) if name == self.broken else works(*words)

        return ask


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Several]:
    together = Several(lambda: Broken(tmp_path / "shared.db"), 2, deadline=0.05)  # type: ignore[arg-type, return-value]
    yield together
    together.close()


def talk(together: Several, by: int, *said: dict[str, Any], **more: Any) -> Turn:
    """A call by one of the proxies, answered, whatever becomes of what is told of it."""
    now, began = time.time(), time.monotonic()
    turn = together.run(together.taking(asks(*said, **more), now, by))
    assert turn is not None
    assert time.monotonic() - began < 2.0
    turn = together.sharing[by].as_known(turn)
    together.boards[by].answer(turn, reply(), now, has_failed=False)

    async def tell() -> None:
        together.sharing[by].told(turn)

    together.run(tell())
    return turn


def untold(together: Several) -> int:
    """How many sessions the engine lacks, when all has been told that can be."""

    async def quiet() -> None:
        until = time.monotonic() + 8.0
        while any(len(one.publisher) for one in together.sharing) and time.monotonic() < until:
            await asyncio.sleep(0.01)

    together.loop.run_until_complete(quiet())
    return sum(len(one.publisher) for one in together.sharing)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_an_engine_that_breaks_costs_no_call_and_is_told_all_when_it_is_mended(
    two: Several, method: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    declares = (("x-session-id", "job-1"),)  # whose owner is claimed
    for engine in two.engines:
        engine.broken, engine.way = method, WAYS[way]  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        first = talk(two, 0, HELLO)
        second = talk(two, 0, HELLO, SAID, MORE)
        named = talk(two, 0, HELLO, headers=declares)
    for engine in two.engines:
        engine.broken = ""  # type: ignore[attr-defined]
    left = untold(two)
    elsewhere = talk(two, 1, HELLO, SAID, MORE, SAID, {"user": "Sure?"})

    assert session(first) == session(second)
    assert session(named) == "job-1"
    assert left == 0
    assert session(elsewhere) == session(first)
    kinds = [record.getMessage() for record in caplog.records if "callerid" in record.name]
    assert len(kinds) == len(set(kinds)) <= 2
    if (method, way) in (("look", "raises"), ("look", "fails"), ("put", "raises")):
        assert two.guard.counts["failed.sharing"] >= 1
    assert not [r for r in caplog.records if r.name == "asyncio"]  # nobody's exception was lost


@pytest.mark.parametrize("way", ["raises", "is_away", "hangs"])
@pytest.mark.parametrize("method", ["open", "claim"])
def test_an_engine_that_breaks_at_the_start_costs_no_start(
    two: Several, method: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callerid.proxy.joining.SECONDS_TO_WAIT", 0.1)
    sharing, guard = two.sharing[0], two.guard

    class Starting:
        place = "somewhere"

        async def open(self) -> None:
            if method == "open":
                await WAYS[way]("open")

        def claim(self, *_: Any) -> Any:
            return WAYS[way]("claim")

        def close(self) -> None: ...

    sharing.has_joined = False
    Joining(Starting, sharing, b"key", guard).at_once()  # type: ignore[arg-type]

    assert not sharing.has_joined
    assert guard.counts in ({"sharing_lost": 1}, {"failed.sharing": 1})


def test_that_redis_went_and_that_it_is_back_are_said_once_and_where_it_is(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    from callerid.sharing.redis_engine import RedisEngine

    together = Several(lambda: RedisEngine(own_redis.url), 1, deadline=0.05)
    with caplog.at_level(logging.INFO, "callerid"):
        talk(together, 0, HELLO)
        own_redis.kill()
        for number in range(3):
            talk(together, 0, {"user": f"Question {number}"})
        own_redis.start()
        together.run(is_back(together.engines[0]))
        assert untold(together) == 0
    together.close()

    where = f"shared sessions (Redis at 127.0.0.1:{own_redis.port}, database 0): "
    said = [record.getMessage() for record in caplog.records]
    assert sum(f"{where}cannot be reached" in each for each in said) == 1
    assert sum(f"{where}back again" in each for each in said) == 1
    assert [each for each in said if "cannot" in each or "back" in each] == said
