"""A proxy that is killed loses no call but those of its last moment, and says which it left."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import crashing
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.prices import Prices
from callerid.settings.load import load
from callerid.traces.database import open_database
from callerid.traces.restore import restore
from callerid.traces.rows import State
from callerid.traces.write import Writer
from callerid.traces.writers import Writing, mark_interrupted
from test_record import entry

CRASHES = int(os.environ.get("CALLERID_TEST_CRASHES", "4"))  # 50 take a minute and a half
LIVES = (0.3, 1.5)  # seconds that a proxy lives after its first calls were answered
# What is answered waits for the flush, and then for the disk and this machine's other work.
AT_RISK_SECONDS = crashing.FLUSH_SECONDS + 0.75


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@contextmanager
def proxy(path: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes, from when its first calls are on record on."""
    process = subprocess.Popen(
        [sys.executable, crashing.__file__, path, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert process.stdout
        for _ in range(10 * crashing.UNDER_WAY):  # by then the first are on record
            assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def started(path: Path) -> None:
    """What a proxy does with a file when it starts."""
    serial = itertools.count(1)
    board = Switchboard(load(), lambda prefix: f"{prefix}_{next(serial)}")
    guard = Guard()
    restore(path, board, guard, 1010.0)
    assert not guard.counts


def states(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("select id, state from calls"))


@pytest.mark.parametrize("crash", range(CRASHES))
def test_a_proxy_that_is_killed_loses_at_most_its_last_moment(path: Path, crash: int) -> None:
    with proxy(path, "killed") as process:
        time.sleep(random.Random(crash).uniform(*LIVES))
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        said, _ = process.communicate()
    lines = [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]
    answered = {id for id, at in lines if float(at) < killed - AT_RISK_SECONDS}

    before = states(path)
    started(path)

    after = states(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        dangling = "select count(*) from call_messages where message_id not in"
        assert connection.execute(f"{dangling} (select id from messages)").fetchone() == (0,)
    assert {id for id in answered if before.get(id) != "ok"} == set()
    in_flight = {id for id, state in before.items() if state == "in_flight"}
    assert in_flight
    assert {id for id, state in after.items() if state == "interrupted"} == in_flight
    assert set(after.values()) == {"ok", "interrupted"}
    assert not list(path.parent.glob("*-writer-*"))


def test_what_a_proxy_that_lives_has_under_way_is_left_alone(path: Path) -> None:
    with proxy(path, "living"), proxy(path, "killed") as killed:
        killed.kill()
        killed.wait()
        started(path)
        found = states(path)

    flying = {id.partition("-")[0] for id, state in found.items() if state == "in_flight"}
    broken = {id.partition("-")[0] for id, state in found.items() if state == "interrupted"}
    assert flying == {"living"}
    assert broken == {"killed"}


def test_two_proxies_write_into_one_file_at_once_and_lose_nothing(path: Path) -> None:
    with proxy(path, "one") as one, proxy(path, "other") as other:
        time.sleep(1)
        said = [process.communicate("")[0] for process in (one, other)]

    answered = {line.split()[0] for lines in said for line in lines.splitlines()}
    found = states(path)
    assert [one.returncode, other.returncode] == [0, 0]
    assert len(answered) > 100
    assert {id for id in answered if found[id] != "ok"} == set()


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path, Prices(load().prices))
    yield writer
    writer.close()


def test_a_call_of_a_writer_in_the_same_process_is_left_alone(path: Path, writer: Writer) -> None:
    assert writer.write([entry("c1", state=State.IN_FLIGHT)]) == ""

    started(path)

    assert states(path) == {"c1": "in_flight"}
    assert writer.write([entry("c1")]) == ""
    assert states(path) == {"c1": "ok"}


def test_what_a_writer_had_under_way_when_it_ended_is_interrupted(
    path: Path, writer: Writer
) -> None:
    assert writer.write([entry("c1", state=State.IN_FLIGHT), entry("c2")]) == ""
    writer.close()

    with closing(open_database(path)) as database:
        assert mark_interrupted(database, path) == 1
        (row,) = database.query("select * from calls where id = 'c1'")
    expected: dict[str, Any] = {"state": "interrupted", "reply_exactness": "absent"}
    assert {name: row[name] for name in expected} == expected
    assert states(path) == {"c1": "interrupted", "c2": "ok"}


def test_a_lock_that_was_deleted_is_held_again(path: Path, writer: Writer) -> None:
    assert writer.write([entry("c1", state=State.IN_FLIGHT)]) == ""
    for lock in path.parent.glob("*-writer-*"):
        lock.unlink()
    assert writer.write([entry("c2", state=State.IN_FLIGHT)]) == ""

    started(path)

    assert states(path) == {"c1": "in_flight", "c2": "in_flight"}


def test_a_lock_is_nobody_elses_to_read(path: Path) -> None:
    writing = Writing(path)
    writing.begin()
    (lock,) = path.parent.glob("*-writer-*")

    assert lock.stat().st_mode & 0o777 == 0o600
    writing.end()
    assert not lock.exists()
