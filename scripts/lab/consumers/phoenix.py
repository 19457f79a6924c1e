"""Arize Phoenix beside callerid: gets spans while calls are made, and lists runs and sessions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

from lab import FakeProvider
from lab.consumers.consumer import PHOENIX, Logged, Round
from lab.consumers.play import Stage
from lab.consumers.server import Server, free_port
from lab.consumers.talks import Line
from lab.provider import Answer, Asked

_MOST = 1000  # spans a page
_OF_ONE_CALL = 2  # spans: its own, and its session's
_NAME = "http.request.header.x-request-id"


def play(programs: Path, folder: Path) -> list[Round]:
    """Play all rounds with the programs of that folder; files go to `folder`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    command = [str(programs / "phoenix"), "serve"]
    with (
        FakeProvider(_answer, tls=False) as provider,
        Server(command, env, folder / "phoenix.log") as server,
    ):
        server.wait_for(f"{url}/v1/projects", "default")
        stage = Stage(PHOENIX, provider.port, "sk-lab", lambda: read_log(url), folder)
        for conventions in ("openinference", "gen_ai"):
            with _round(stage, conventions, url) as line:
                _family(line)
        before = len(spans(url))
        _export_again(folder / "round-1" / "traces.db", url)
        # What is told after it has come when this has: Phoenix takes spans in their order.
        with _round(stage, "both", url) as line:
            line.talk("late").say("Am I too late?")
        if len(spans(url)) != before + _OF_ONE_CALL:
            raise RuntimeError(f"Phoenix has {len(spans(url))} spans: {before} were told twice")
    return stage.rounds


def _round(stage: Stage, conventions: str, url: str) -> AbstractContextManager[Line]:
    told = {"endpoint": url, "conventions": conventions, "flush_seconds": 0.1}
    return stage.round(f"otlp, {conventions}", settings={"export": {"otlp": told}})


def _answer(asked: Asked) -> Answer:
    """Never says the same twice."""
    return Answer(f"About that I can say ({asked.serial}): it depends.")


def _family(line: Line) -> None:
    """A main session of two turns, its helper, and a stranger who opens with the same words."""
    main, stranger = line.talk("main"), line.talk("stranger")
    main.say("When is the highest tide of the year?")
    stranger.say("When is the highest tide of the year?")
    main.say("And the lowest?")
    helper = line.talk(
        "helper",
        "main",
        x_callerid_session_id=f"helper-{line.name}",
        x_callerid_parent_session_id=main.session,
    )
    helper.say("Read the almanac of 2026.")
    main.say("Thank you.", streams=True)


def _export_again(traces: Path, url: str) -> None:
    """Tell Phoenix again, from the record, what it was told live: nothing may come twice."""
    program = "import sys; from callerid.commands.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "export", "--format", "openinference"]
    subprocess.run(
        [*command, "--endpoint", url, "--db", str(traces)], check=True, capture_output=True
    )


def read_log(url: str) -> dict[str, Logged]:
    """What Phoenix shows of each call, by its name: those in a session that it lists."""
    listed = {one["session_id"] for one in _pages(url, "sessions")}
    found = {}
    for span in spans(url):
        said = span["attributes"]
        name = said.get(_NAME)
        if name and said.get("session.id") in listed:
            found[name] = Logged(
                session=_first(said, "graph.node.id", "gen_ai.conversation.id"),
                parent=_first(said, "graph.node.parent_id", "callerid.session.parent_id"),
            )
    return found


def _first(said: dict[str, Any], *names: str) -> str:
    return next((str(said[name]) for name in names if said.get(name)), "")


def spans(url: str) -> list[dict[str, Any]]:
    """All spans of the project."""
    return list(_pages(url, "spans"))


def _pages(url: str, what: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    with httpx.Client(trust_env=False) as client:
        while True:
            asked = {"limit": _MOST} | ({"cursor": cursor} if cursor else {})
            page = client.get(f"{url}/v1/projects/default/{what}", params=asked).json()
            yield from page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return
