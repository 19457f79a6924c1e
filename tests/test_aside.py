"""Pages that are made in a process of their own: the same pages, and none when it cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from callerid.explorer import aside
from callerid.explorer.app import Explorer
from callerid.explorer.aside import Aside
from callerid.settings.load import load
from office import anthropic_reply, office, text

SLEEPS = "import sys, time; sys.stdin.readline(); time.sleep(60)"


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aside") / "traces.db"
    with office(path) as at:
        body = {"model": "m", "messages": [{"role": "user", "content": "Où est la marée haute?"}]}
        at.call("/v1/messages", body, anthropic_reply(text("Ici.")))
    return path


@pytest.fixture
def explorer(traces: Path) -> Iterator[Explorer]:
    made = Explorer(traces, is_aside=True)
    yield made
    made.close()


def client_of(explorer: Explorer) -> FlaskClient:
    app = Flask("test", static_folder=None)
    app.register_blueprint(explorer.blueprint())
    return app.test_client()


def process_of(explorer: Explorer) -> subprocess.Popen[bytes]:
    assert explorer._aside is not None
    assert explorer._aside._process is not None
    return explorer._aside._process


@pytest.mark.parametrize(
    "address",
    ["/", "/?q=mar%C3%A9e&status=", "/?q=mar\u00e9e", "/agents", "/run?id=%00", "/body?id="],
)
def test_a_page_made_aside_is_the_same_page(explorer: Explorer, traces: Path, address: str) -> None:
    there = client_of(explorer).get(address)
    here = client_of(Explorer(traces)).get(address)

    assert (there.status, there.data, dict(there.headers)) == (
        here.status, here.data, dict(here.headers)
    )  # fmt: skip


def test_a_process_that_died_costs_nobody_a_page(explorer: Explorer) -> None:
    client = client_of(explorer)
    assert client.get("/").status_code == 200
    first = process_of(explorer)
    first.kill()
    first.wait()

    assert client.get("/").status_code == 200
    assert process_of(explorer).pid != first.pid


def test_where_no_process_can_be_had_pages_are_made_here(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert client_of(explorer).get("/").status_code == 200

    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert client_of(explorer).get("/").status_code == 200


def test_a_page_that_takes_too_long_is_given_up(
    explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "python"
    slow.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{SLEEPS}'\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(aside, "SECONDS", 0.3)

    page = client_of(explorer).get("/")

    assert (page.status_code, page.text) == (503, "it took more than 0 s\n")


def test_too_many_pages_at_once_are_refused(traces: Path) -> None:
    made = Aside(traces, load())
    for _ in range(aside.MOST_WAITING):
        made._places.acquire()

    assert made.get(aside.Asked("/", "")).status == 503


def test_pages_that_are_asked_for_at_once_are_all_made(explorer: Explorer) -> None:
    client, codes = client_of(explorer), []
    asking = [
        threading.Thread(target=lambda: codes.append(client.get("/agents").status_code))
        for _ in range(8)
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()

    assert codes == [200] * 8


def test_the_process_ends_with_the_proxy_even_one_that_is_killed(traces: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from callerid.explorer.aside import Aside, Asked\n"
        "from callerid.settings.load import load\n"
        "made = Aside(Path(sys.argv[1]), load()); made.get(Asked('/', ''))\n"
        "print(made._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(traces)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    until = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
