"""Real consumers of our headers: the judge's own parts, and the consumers where they are there."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from callerid.settings.load import load
from callerid.traces.database import Recorded
from callerid.turn import Because, Client, Identity, Relation, Request
from lab.compliance.install import CannotInstall
from lab.consumers import dynamo, litellm
from lab.consumers.consumer import DYNAMO, LITELLM, PHOENIX, Consumer, Logged, Round
from lab.consumers.install import install, programs
from lab.consumers.judge import judge
from lab.consumers.report import notes, table
from lab.consumers.talks import Turn

SCRIPTS = Path(__file__).parents[1] / "scripts"
MAIN = Turn("main-1", "main", "", 200, is_final=False, is_refused=False, is_untold=False)
HELPER = MAIN._replace(name="helper-2", talk="helper", parent="main", is_final=True)
IDENTITIES = {
    "main-1": Identity("sess_main", "agent_lead", "sess_main", Because.NEW, 0.9, ""),
    "helper-2": Identity(
        "sess_child", "agent_scout", "sess_main", Because.HEADER, 1.0, "",
        parent_session_id="sess_main", relation=Relation.SUBAGENT, is_final=True,
    ),
}  # fmt: skip
LOGGED = {
    "main-1": Logged("sess_main", agent="agent_lead", worker="1"),
    "helper-2": Logged("sess_child", "sess_main", True, "agent_scout", "2"),
}


def played(**changed: Any) -> Round:
    """A round in which all is right, but for what is changed."""
    request = Request("POST", "http", "127.0.0.1", 8000, "/v1/chat/completions", (), b"", Client())
    identities = changed.pop("identities", {})
    recorded = {
        name: Recorded(name, request, identity, 200, [], "", 1.0, 2.0, False)
        for name, identity in (IDENTITIES | identities).items()
    }
    logged = {name: LOGGED[name]._replace(**more) for name, more in changed.pop("logs", {}).items()}
    right = Round(
        DYNAMO, "dynamo", DYNAMO.logs | {"agent"}, [MAIN, HELPER], recorded, LOGGED | logged, True
    )
    return right._replace(**changed)


# What is right and what is not


def test_nothing_is_wrong_where_the_log_says_what_is_on_record() -> None:
    assert judge(played()).mistakes == []


@pytest.mark.parametrize(
    ("changed", "aspect"),
    [
        ({"turns": [MAIN._replace(status=400), HELPER]}, "answered"),
        ({"turns": [MAIN._replace(is_refused=True), HELPER]}, "answered"),
        ({"logs": {"main-1": {"session": "other"}}}, "session"),
        ({"logged": {"helper-2": LOGGED["helper-2"]}}, "session"),
        ({"turns": [MAIN._replace(is_untold=True), HELPER]}, "session"),
        ({"logs": {"helper-2": {"parent": ""}}}, "parent"),
        ({"logs": {"helper-2": {"final": False}}}, "final"),
        ({"marks_last_calls": False}, "final"),
        ({"logs": {"main-1": {"agent": ""}}}, "agent"),
        ({"logs": {"helper-2": {"session": "sess_main"}}}, "worker"),
        ({"turns": [MAIN, HELPER._replace(talk="main", parent="", is_final=True)]}, "session"),
        ({"turns": [MAIN, HELPER._replace(parent="")]}, "parent"),
        ({"turns": [MAIN, HELPER._replace(is_final=False)]}, "final"),
    ],
)  # fmt: skip
def test_each_mistake_is_found_in_its_aspect(changed: dict[str, Any], aspect: str) -> None:
    assert aspect in {mistake.aspect for mistake in judge(played(**changed)).mistakes}


def test_only_what_a_consumer_is_told_is_looked_at_in_its_log() -> None:
    nothing = {name: {"agent": "", "parent": ""} for name in LOGGED}

    assert judge(played(logs=nothing, aspects=frozenset({"session"}))).mistakes == []


def test_the_table_says_what_is_wrong_and_what_is_not_told() -> None:
    verdict = judge(played(logs={"helper-2": {"parent": ""}}, aspects=DYNAMO.logs))
    drawing = io.StringIO()

    Console(width=130, file=drawing).print(table([verdict]))

    assert drawing.getvalue().splitlines()[3].replace(" ", "") == (
        "│ai-dynamo1.6.1│dynamo│2│right│right│1WRONG│right│-│right│"
    )
    assert list(notes([verdict])) == [
        "ai-dynamo, dynamo: helper-2 is logged with parent '', not 'sess_main'"
    ]


# What they logged


def test_a_request_trace_is_read_as_far_as_it_is_written(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    context = {"session_id": "s", "parent_session_id": "p", "session_final": True}
    request = {"x_request_id": "a-1", "worker": {"decode_worker_id": 2**63}}
    nameless = {"request": {"request_id": "r", "worker": {"decode_worker_id": 1}}}
    lines = [{"event": {"agent_context": context, "request": request}}, {"event": nameless}]
    trace.write_text("\n".join([*map(json.dumps, lines), '{"event": {"half']))

    assert dynamo.read_trace(trace) == {
        "a-1": Logged("s", "p", True, worker=str(2**63)),
        "": Logged("", worker="1"),
    }
    assert litellm.read_log(tmp_path / "not there yet") == {}


# Installing


def test_each_consumer_is_pinned_to_the_version_that_it_is_said_to_be() -> None:
    for consumer in (DYNAMO, LITELLM, PHOENIX):
        words = (*consumer.packages, *consumer.alone)
        assert any(word.endswith(f"=={consumer.version}") for word in words)


def test_a_profile_names_the_version_of_dynamo_that_it_is_shown_with() -> None:
    assert f"Dynamo {DYNAMO.version}" in load().profiles.profiles["dynamo"].source


def test_what_cannot_be_installed_is_said_and_is_not_there_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("PIP_NO_INDEX", "PIP_DISABLE_PIP_VERSION_CHECK"):
        monkeypatch.setenv(name, "1")
    nobody = Consumer("nobody", "1.0", ("callerid-lab-nobody==1.0",), (), frozenset())

    with pytest.raises(CannotInstall, match=r"pip cannot install nobody 1\.0: .*No matching"):
        install(nobody)
    assert programs(nobody) is None


# The command


def consumers(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.consumers", "--consumers", *words]
    environment = {"HOME": str(Path.home())} | environment
    return subprocess.run(
        command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def test_where_it_cannot_run_it_says_so_and_nothing_is_wrong() -> None:
    result = consumers(PATH="/nowhere")

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("consumers: skipped: a network namespace needs root")


@pytest.mark.parametrize("consumer", [DYNAMO, LITELLM, PHOENIX], ids=lambda consumer: consumer.name)
def test_a_real_consumer_takes_our_headers_and_logs_our_sessions(consumer: Consumer) -> None:
    if not programs(consumer):
        named = f"{consumer.name} {consumer.version}"
        pytest.skip(f"{named} is not installed; scripts/compliance --consumers installs it")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    result = consumers("--consumer", consumer.name, PATH=path)
    if "skipped" in result.stdout:
        pytest.skip(result.stdout.strip())

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{consumer.name} {consumer.version}" in result.stdout
    assert "WRONG" not in result.stdout
