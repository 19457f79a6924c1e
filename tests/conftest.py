"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.servers import Missing, PostgresServer, RedisServer


@pytest.fixture(scope="session")
def addon_script() -> Path:
    """What `mitmdump -s` is given."""
    return Path(__file__).parents[1] / "addon" / "main.py"


def _lacks(missing: Missing) -> None:
    """A server that is not installed skips a test; not in CI, which has installed it."""
    if os.environ.get("CALLERID_CI"):
        pytest.fail(f"{missing}; CI needs it")
    pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A redis-server for tests that leave it running."""
    try:
        server = RedisServer()
    except Missing as missing:
        _lacks(missing)
    with server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A redis-server that a test may kill."""
    try:
        server = RedisServer()
    except Missing as missing:
        _lacks(missing)
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests that leave it running."""
    try:
        server = PostgresServer()
    except Missing as missing:
        _lacks(missing)
    with server:
        yield server
