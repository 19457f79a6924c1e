"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from lab.servers import Missing, PostgresServer, RedisServer

IS_CI = bool(os.environ.get("CALLERID_CI"))
if IS_CI:  # the same examples each time: other runs look for what these do not find
    hypothesis.settings.register_profile("same", derandomize=True)
    hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session")
def addon_script() -> Path:
    """What `mitmdump -s` is given."""
    return Path(__file__).parents[1] / "addon" / "main.py"


Server = TypeVar("Server", RedisServer, PostgresServer)


def _lacks(missing: Missing) -> None:
    """A server that is not installed skips a test; not in CI, which has installed it."""
    if IS_CI:
        pytest.fail(f"{missing}; CI needs it")
    pytest.skip(str(missing))


def _running(kind: type[Server]) -> Iterator[Server]:
    try:
        server = kind()
    except Missing as missing:
        _lacks(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A redis-server for tests that leave it running."""
    yield from _running(RedisServer)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A redis-server that a test may kill."""
    yield from _running(RedisServer)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests that leave it running."""
    yield from _running(PostgresServer)
