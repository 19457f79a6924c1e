"""Four real proxies behind a round robin, and what they share: gone, killed, restarted."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from lab.servers import PostgresServer, RedisServer
from lab.together import Compared, Fleet, Heard, compare, recorded, replay

CORPUS = Path(__file__).parents[2] / "shared" / "corpora" / "sessions.jsonl.xz"
FIRST, COUNT, PROXIES = 2000, 160, 4
# Seconds from a reply to who goes on by it; the others are told of it some milliseconds after.
TURNAROUND = {"redis": 0.02, "postgres": 0.1, "file": 0.1}
PATIENT = 2.0  # seconds; a test's machine has much else to do

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"needs {CORPUS}")


@pytest.fixture(scope="module")
def calls() -> list[Any]:
    return recorded(CORPUS, COUNT, FIRST)


@pytest.fixture(scope="module")
def alone(calls: list[Any]) -> list[Heard | None]:
    """What one proxy says that takes all calls."""
    heard, trouble = asyncio.run(replay(calls, 1, {}))
    assert trouble == {}
    assert all(each is not None and each.status == 200 and each.session for each in heard)
    return heard


def kept(backend: str, connection: str) -> dict[str, Any]:
    return {"backend": backend, "connection": connection, "deadline_seconds": PATIENT}


@pytest.mark.parametrize("backend", ["redis", "postgres", "file"])
def test_four_proxies_say_of_each_call_what_one_says(
    calls: list[Any], alone: list[Heard | None], backend: str, tmp_path: Path,
    redis_server: RedisServer, postgres_server: PostgresServer,
) -> None:  # fmt: skip
    where = {
        "redis": redis_server.url.replace("/0", "/1"),
        "postgres": postgres_server.url,
        "file": str(tmp_path / "shared.db"),
    }

    settings = kept(backend, where[backend])
    heard, trouble = asyncio.run(replay(calls, PROXIES, settings, turnaround=TURNAROUND[backend]))

    assert trouble == {}
    sessions = len({each.session for each in alone if each})
    assert compare(alone, heard) == Compared(COUNT, sessions, sessions, [], 0, 0)


def test_when_redis_is_killed_in_the_middle_traffic_flows_and_it_is_counted(
    calls: list[Any], own_redis: RedisServer
) -> None:
    happens = {COUNT // 2: lambda fleet: own_redis.kill()}

    heard, trouble = asyncio.run(replay(calls, PROXIES, kept("redis", own_redis.url), happens))

    assert all(each is not None and each.status == 200 and each.session for each in heard)
    assert trouble["sharing_lost"] >= 1
    assert set(trouble) <= {"sharing_lost", "sharing_late"}


def test_when_redis_hangs_and_goes_on_traffic_flows_and_they_agree_again(
    calls: list[Any], alone: list[Heard | None], own_redis: RedisServer
) -> None:
    happens = {
        COUNT // 4: lambda fleet: own_redis.hang(),
        COUNT // 2: lambda fleet: own_redis.go_on(),
    }
    settings = kept("redis", own_redis.url) | {"deadline_seconds": 0.02}

    heard, trouble = asyncio.run(replay(calls, PROXIES, settings, happens))

    assert all(each is not None and each.status == 200 and each.session for each in heard)
    assert trouble["sharing_late"] >= 1
    assert set(trouble) <= {"sharing_lost", "sharing_late"}


def test_what_a_killed_proxy_knew_the_others_know(
    calls: list[Any], alone: list[Heard | None], own_redis: RedisServer
) -> None:
    def kill(fleet: Fleet) -> None:
        fleet.proxies.pop(1).stop(signal.SIGKILL)

    settings = kept("redis", own_redis.url)
    heard, trouble = asyncio.run(replay(calls, PROXIES, settings, {COUNT // 2: kill}))

    lost = [at for at, each in enumerate(heard) if each is None]
    compared = compare(alone, heard)
    assert trouble == {}
    assert all(at < COUNT // 2 for at in lost)  # what was under way in it, and no more
    assert compared.calls == COUNT - len(lost)
    assert len(compared.moved) <= len(lost)  # only what it was hearing when it was killed


def test_through_a_rolling_restart_all_sessions_are_known(
    calls: list[Any], alone: list[Heard | None], own_redis: RedisServer
) -> None:
    def restart(fleet: Fleet) -> None:
        fleet.proxies.append(fleet.begin())
        fleet.leaving.append(fleet.proxies.pop(0))  # it gets no more calls, and finishes its own

    happens = {COUNT * at // 8: restart for at in (2, 3, 4, 5)}
    heard, trouble = asyncio.run(replay(calls, PROXIES, kept("redis", own_redis.url), happens))

    sessions = len({each.session for each in alone if each})
    assert trouble == {}
    assert compare(alone, heard) == Compared(COUNT, sessions, sessions, [], 0, 0)
