"""What breaks around the proxy: traffic sees nothing, what is lost is counted, and it is said.

What an upstream does wrong is compared with mitmdump alone: a client sees the same with us.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlite_utils import Database

from callerid.proxy import setup
from lab import FakeProvider, Proxy, crowd
from lab.family import family
from test_budgets import budgets, spend, whose
from test_customers import Move, World
from test_end_to_end import MESSAGES, client_of, on_record
from test_never_breaks import EVENTS

STREAM = b"".join(EVENTS)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PASSES = Path(__file__).parents[1] / "scripts" / "lab" / "streams.py"
DEADLINE_SECONDS = 20.0

# Upstreams


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def trickle(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(HEAD + STREAM)):
        sock.sendall((HEAD + STREAM)[at : at + 1])


def reset_in_the_middle(sock: socket.socket) -> None:
    sock.sendall(HEAD + STREAM[:200])
    reset(sock)


UPSTREAMS: dict[str, Callable[[socket.socket], object]] = {
    "trickles": trickle,
    "closes at once": lambda sock: None,
    "resets at once": reset,
    "resets in the middle": reset_in_the_middle,
    "garbage for HTTP": lambda sock: sock.sendall(os.urandom(4000)),
    "garbage for events": lambda sock: sock.sendall(HEAD + b"\xff\0data: {\n\n" * 300),
    "says too much": lambda sock: sock.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}{}{}"
    ),
    "says too little": lambda sock: sock.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{}"
    ),
    "lies about its packing": lambda sock: sock.sendall(
        HEAD[:-2] + b"content-encoding: gzip\r\n\r\n" + STREAM
    ),
    "a header of 60 KB": lambda sock: sock.sendall(
        HEAD[:-2] + b"x-long: " + b"a" * 60_000 + b"\r\n\r\n" + STREAM
    ),
}


@contextmanager
def upstream(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that reads a request and then behaves as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock, contextlib.suppress(OSError):
                        read = b""
                        while b"\r\n\r\n" not in read:
                            read += sock.recv(65536)
                        length = int(read.lower().split(b"content-length: ")[1].split(b"\r")[0])
                        while len(read.partition(b"\r\n\r\n")[2]) < length:
                            read += sock.recv(65536)
                        behave(sock)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/messages"
        server.shutdown(socket.SHUT_RDWR)


def seen(proxy: Proxy, url: str) -> tuple[object, ...]:
    """What a client sees: a status and the bytes that came, or that they broke off."""
    came: list[bytes] = []
    with client_of(proxy) as client:
        try:
            with client.stream("POST", url, json=MESSAGES | {"stream": True}) as reply:
                came += reply.iter_raw()
                return reply.status_code, b"".join(came) if reply.status_code == 200 else b""
        except httpx.HTTPError as error:
            return type(error).__name__, b"".join(came)


@pytest.fixture(scope="module")
def bare() -> Iterator[Proxy]:
    with Proxy(PASSES) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ours(addon_script: Path) -> Iterator[Proxy]:
    with Proxy(addon_script) as proxy:
        yield proxy


@pytest.mark.parametrize("name", UPSTREAMS)
def test_an_upstream_that_misbehaves_looks_as_without_us(
    bare: Proxy, ours: Proxy, name: str
) -> None:
    with upstream(UPSTREAMS[name]) as url:
        without, with_us = seen(bare, url), seen(ours, url)

    assert with_us[0] == without[0]
    if isinstance(without[0], int):
        assert with_us == without


def test_after_all_that_every_call_is_on_record_with_its_outcome(ours: Proxy) -> None:
    ours.stop()
    rows = on_record(ours.traces, "select state from calls")

    assert {row["state"] for row in rows} <= {"ok", "error", "unreachable", "aborted", "truncated"}
    assert "failed with" not in ours.log


def test_an_upstream_that_hangs_is_left_by_its_client_and_holds_nobody_else(
    addon_script: Path,
) -> None:
    gone = threading.Event()
    with (
        upstream(lambda _: gone.wait(DEADLINE_SECONDS)) as hanging,
        FakeProvider() as provider,
        Proxy(addon_script) as proxy,
        client_of(proxy) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            client.post(hanging, json=MESSAGES, timeout=0.5)
        answer = client.post(f"{provider.url}/v1/messages", json=MESSAGES)
        gone.set()
        proxy.stop()
        rows = on_record(proxy.traces, "select state from calls order by started_at")

    assert answer.status_code == 200
    assert [row["state"] for row in rows] == ["aborted", "ok"]


# The record, under a proxy that runs


def overwrite(path: Path) -> None:
    for file in path.parent.glob("traces.db*"):
        if "writer" not in file.name:
            file.write_bytes(os.urandom(max(file.stat().st_size, 8192)))


def delete(path: Path) -> None:
    for file in path.parent.glob("traces.db*"):
        file.unlink()


def replace_by_folder(path: Path) -> None:
    delete(path)
    path.mkdir()


def lost(proxy: Proxy) -> int:
    """How many calls /metrics says are not on record as they ended."""
    url = proxy.wait_for(r"metrics at (http://\S+)")[1]
    numbers = httpx.get(f"{url}?format=prometheus", trust_env=False).text
    found = re.search(r'callerid_trouble_total\{kind="dropped_calls"\} (\d+)', numbers)
    return int(found[1]) if found else 0


@pytest.fixture
def counting(tmp_path: Path) -> dict[str, str | list[str]]:
    """Options with which a proxy has a port for its metrics."""
    (tmp_path / "settings.yaml").write_text("admin: {port: 0}\n")
    return {"callerid_config": str(tmp_path / "settings.yaml")}


@pytest.mark.parametrize("sabotage", [overwrite, delete, replace_by_folder])
def test_a_record_that_is_ruined_costs_no_call_and_is_said_once(
    addon_script: Path, sabotage: Callable[[Path], None], counting: dict[str, str | list[str]]
) -> None:
    with (
        FakeProvider() as provider, Proxy(addon_script, options=counting) as proxy,
        client_of(proxy) as client,
    ):  # fmt: skip
        url = f"{provider.url}/v1/messages"
        client.post(url, json=MESSAGES)
        wait_for(lambda: len(on_record_or_nothing(proxy.traces)) == 1)
        sabotage(proxy.traces)
        answers = [client.post(url, json=MESSAGES) for _ in range(20)]
        time.sleep(1.0)  # two batches more
        answers += [client.post(url, json=MESSAGES) for _ in range(5)]
        wait_for(lambda: lost(proxy) + ended(proxy.traces) == 25)
        proxy.stop()
        log, rows = proxy.log, on_record_or_nothing(proxy.traces)

    assert [answer.status_code for answer in answers] == [200] * 25
    assert len({answer.headers["x-callerid-session-id"] for answer in answers}) == 25
    if sabotage is delete:
        assert len(rows) == 25
    else:
        assert log.count("counted as dropped") == 1, log


def ended(path: Path) -> int:
    """How many calls are on record as they ended."""
    return sum(row["state"] != "in_flight" for row in on_record_or_nothing(path))


def on_record_or_nothing(path: Path) -> list[dict[str, Any]]:
    try:
        return on_record(path, "select id, state from calls")
    except Exception:
        return []


def wait_for(is_so: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_when_the_process_that_records_is_killed_under_load_what_is_lost_is_counted_exactly(
    addon_script: Path, counting: dict[str, str | list[str]]
) -> None:
    with FakeProvider() as provider, Proxy(addon_script, options=counting) as proxy:
        url = f"{provider.url}/v1/messages"

        def ask(number: int) -> int:
            said = [{"role": "user", "content": f"Task {number} of the day"}]
            with client_of(proxy) as client:
                return client.post(url, json=MESSAGES | {"messages": said}).status_code

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, number) for number in range(300)]
            for part in (60, 180):
                wait_for(lambda part=part: sum(each.done() for each in asked) > part)
                for recorder in recorders(proxy.pid):
                    os.kill(recorder, signal.SIGKILL)
            answers = [each.result() for each in asked]
        wait_for(lambda: lost(proxy) + ended(proxy.traces) == 300)
        time.sleep(1.0)  # two batches more: it stays so
        assert lost(proxy) + ended(proxy.traces) == 300
        log = proxy.log

    assert answers == [200] * 300
    assert log.count("counted as dropped") <= 1


def recorders(pid: int) -> list[int]:
    """The processes of a proxy that record."""
    found = []
    for process in family(pid):
        with contextlib.suppress(OSError):
            if b"callerid.traces.process" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_killed_under_load_the_record_has_all_but_the_last_moment_and_talks_go_on(
    addon_script: Path, tmp_path: Path
) -> None:
    path, said = tmp_path / "traces.db", []
    answered: list[tuple[str, float]] = []
    talks: dict[int, tuple[str, list[Any]]] = {}

    def hold(number: int, url: str, proxy: Proxy) -> None:
        messages = [{"role": "user", "content": f"Task {number} of the day"}]
        with client_of(proxy) as client, contextlib.suppress(httpx.HTTPError):
            while True:
                reply = client.post(url, json=MESSAGES | {"messages": messages})
                id = reply.headers["x-callerid-session-id"]
                words = reply.json()["content"]
                answered.append((id, time.time()))
                messages += [{"role": "assistant", "content": words},
                             {"role": "user", "content": f"And then? {len(messages)}"}]  # fmt: skip
                talks[number] = id, list(messages)

    options = {"callerid_db": str(path)}
    with FakeProvider() as provider:
        url = f"{provider.url}/v1/messages"
        with Proxy(addon_script, options=options) as proxy, ThreadPoolExecutor(8) as pool:
            for number in range(8):
                pool.submit(hold, number, url, proxy)
            wait_for(lambda: len(answered) > 100)
            killed = time.time()
            os.kill(proxy.pid, signal.SIGKILL)
        with Proxy(addon_script, options=options) as proxy, client_of(proxy) as client:
            for id, messages in talks.values():
                reply = client.post(url, json=MESSAGES | {"messages": messages})
                said.append((id, reply.headers["x-callerid-session-id"]))
    early = [id for id, at in answered if at < killed - 1.0]
    with closing(Database(path)) as traces:
        (ended,) = next(traces.execute("select count(*) from calls where state = 'ok'"))

    assert ended >= len(early)
    assert len(said) == 8
    assert [before for before, _ in said] == [after for _, after in said]


# Many at once


def test_many_streams_at_once_all_come_whole(addon_script: Path) -> None:
    """CALLERID_STREAMS says how many; `scripts/streams` holds 10,000, beside mitmproxy bare."""
    count = min(int(os.environ.get("CALLERID_STREAMS", "300")), crowd.most_streams())

    held = crowd.through(addon_script, count)

    assert len(held.first) == count
    assert held.handles > 2 * count


def test_many_streams_on_a_few_http2_connections_all_come_whole(addon_script: Path) -> None:
    held = crowd.through(addon_script, 130, http2=True)

    assert len(held.first) == 130
    assert held.handles < 130


@pytest.mark.parametrize(
    ("calls", "trouble"),
    [
        ([("0", "a", "ok")], "'ok': 1"),
        ([("0", "a", "ok"), ("1", "b", "truncated")], "'truncated': 1"),
        ([("0", "b", "ok"), ("1", "a", "ok")], "2 streams are on record in another session"),
        ([("0", "a", "ok"), ("7", "b", "ok")], "1 streams are on record in another session"),
    ],
    ids=["lost", "not_whole", "exchanged", "of_another"],
)
def test_a_crowd_with_a_stream_that_is_not_on_record_as_its_client_saw_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, ...]], trouble: str
) -> None:
    monkeypatch.setattr(crowd, "STILL_SECONDS", 0.2)
    with closing(Database(tmp_path / "traces.db")) as traces:
        names = "response_id", "session_id", "state"
        traces["calls"].insert_all(dict(zip(names, call, strict=True)) for call in calls)

    with pytest.raises(crowd.Wrong, match=trouble):
        crowd.check_record(tmp_path / "traces.db", {"0": "a", "1": "b"})


# The clock


def test_when_the_clock_jumps_conversations_go_on_and_ids_stay_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.play(Move(0, 1, -1, 0, 3, 3, (), 0, 0, 0, 1))
    for jump in (-3600, 0, 3000, -86_400, 86_400):
        world.now += jump
        world.play(Move(0, 1, len(world.histories) - 1, 0, 0, 3, (), 0, 0, 0, 1))

    assert len({identity.session_id for _, identity in world.seen}) == 1
    now = time.time_ns()
    monkeypatch.setattr(setup.time, "time_ns", lambda: now)
    assert len({setup.new_id("call") for _ in range(10_000)}) == 10_000


JUMPS = (-86_400.0, -3600.0, 3600.0, 86_400.0)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize(
    ("budget", "window"),
    [({"requests_per_minute": 3}, 60.0), ({"tokens_per_hour": 100}, 3600.0)],
)
def test_when_the_clock_jumps_a_budget_is_neither_open_nor_shut_for_ever(
    monkeypatch: pytest.MonkeyPatch, budget: dict[str, int], window: float, jump: float
) -> None:
    now, steady = time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: now)
    clocks = SimpleNamespace(time=lambda: now, monotonic=lambda: steady)
    monkeypatch.setattr("callerid.dispatch.budgets.time", clocks)
    at = budgets(per_session=budget)

    def use() -> bool:
        may = at.check(whose("s"), "alice", now) is None
        if may and "tokens_per_hour" in budget:
            spend(at, whose("s"), 60)
        return may

    def used_up() -> bool:
        return [use() for _ in range(6)][-1] is False

    assert used_up()
    now += jump
    refused = at.check(whose("s"), "alice", now)
    assert refused is not None
    assert 1 <= (refused.retry_after or 0) <= window
    now, steady = now + window + 1.0, steady + window + 1.0
    assert use()
    assert used_up()
    now, steady = now + window + 1.0, steady + window + 1.0
    assert use()


# A disk without room


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of so many kilobytes; skips where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can only be mounted by root")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_costs_no_call_and_recording_goes_on_when_there_is_room(
    addon_script: Path, tmp_path: Path, counting: dict[str, str | list[str]]
) -> None:
    with small_disk(tmp_path / "disk", 3000) as disk, FakeProvider() as provider:
        ballast = disk / "ballast"
        options = counting | {"callerid_db": str(disk / "traces.db")}
        url = f"{provider.url}/v1/messages"
        asked = 10
        with Proxy(addon_script, options=options) as proxy, client_of(proxy) as client:
            client.post(url, json=MESSAGES)
            wait_for(lambda: len(on_record_or_nothing(disk / "traces.db")) == 1)
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            said = {"role": "user", "content": os.urandom(100_000).hex()}
            answers = [client.post(url, json=MESSAGES | {"messages": [said]}) for _ in range(9)]
            proxy.wait_for("counted as dropped")
            ballast.unlink()
            while _count(disk / "traces.db") < 2:
                client.post(url, json=MESSAGES)
                asked += 1
                time.sleep(0.02)
            wait_for(lambda: lost(proxy) + ended(disk / "traces.db") == asked)
            log = proxy.log

        assert [answer.status_code for answer in answers] == [200] * 9
        assert log.count("counted as dropped") == 1


def _count(path: Path) -> int:
    return len(on_record_or_nothing(path))
