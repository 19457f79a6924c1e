"""The comparison with real agents: its own parts, and one short run of a real one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import make
from callerid.identity.declared import Declarations
from callerid.settings.load import load
from callerid.traces.database import Recorded
from callerid.turn import Because, Client, Dialect, Identity, Kind, Relation, Request
from lab import Answer, Asked
from lab.compliance import namespace, script
from lab.compliance.agents import AGENTS, QUICK
from lab.compliance.agents.codex import CODEX
from lab.compliance.install import program
from lab.compliance.model import OVERLOADED, Model
from lab.compliance.report import Row, notes, table
from lab.compliance.score import Mistake, Told, mistakes
from lab.compliance.script import Script, Step
from lab.compliance.stripped import without_ids
from lab.compliance.undecidable import why_undecidable
from lab.compliance.wirenames import changes, wire_names

SCRIPTS = Path(__file__).parents[1] / "scripts"


# What a prompt tells the model, and whose talk it is


def test_a_prompt_says_whose_talk_it_is_and_what_the_model_does() -> None:
    (found,) = script.scripts("Please: [[a/b~1: read!; send one two; shell*]] Thank you.")

    assert found == Script(
        "a/b~1",
        (Step("read", refused=True), Step("send", ("one", "two")), Step("shell", is_big=True)),
    )
    assert script.scripts(str(found)) == [found]


@pytest.mark.parametrize(
    ("label", "root", "parent", "relation"),
    [
        ("talk", "talk", "", ""),
        ("talk/ada", "talk", "talk", "subagent"),
        ("talk/ada/ben", "talk", "talk/ada", "subagent"),
        ("talk~1", "talk", "talk", "fork"),
    ],
)
def test_a_label_names_the_family(label: str, root: str, parent: str, relation: str) -> None:
    assert script.root(label) == root
    assert script.parent(label) == parent
    assert script.relation(label) == relation


def test_a_nested_errand_makes_a_helper_of_a_helper() -> None:
    assert script.labels("[[a: nest emil fay; read]]") == ["a", "a/emil", "a/emil/fay"]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_each_scenario_talks_about_itself_alone(agent: Any) -> None:
    assert set(QUICK) <= {scenario.name for scenario in agent.scenarios}
    for scenario in agent.scenarios:
        assert {script.root(label) for label in scenario.labels()} == {scenario.name}


# The model


def asked(serial: int, *said: dict[str, Any]) -> Asked:
    body = make.body(Dialect.ANTHROPIC, said, tools=["Read", "Bash"])
    return Asked(serial, "POST", "/v1/messages", "", (), make.encoded(body), "1.1")


def test_the_model_takes_one_step_after_the_other_and_then_has_its_last_word() -> None:
    model = Model(Path("/projects"))
    opening = {"user": "[[talk: read!; shell]] Please look."}
    call = {"call": {"name": "Read", "arguments": {}}}
    answers: list[Answer] = [
        model(asked(1, opening)),
        model(asked(2, opening)),
        model(asked(3, opening, call, {"result": "It is noon."})),
        model(asked(4, opening, call, {"result": "It is noon."}, call, {"result": "Yes."})),
    ]

    assert answers[0].status == OVERLOADED
    assert [[call.name for call in answer.tool_calls] for answer in answers[1:]] == [
        ["Read"], ["Bash"], [],
    ]  # fmt: skip
    assert len({answer.text for answer in answers}) == len(answers)
    assert [(one.label, one.kind) for one in model.heard] == [("talk", "main")] * 4


# What is right and what is not


def told(label: str, session: str, kind: str = "main", **more: Any) -> Told:
    identity = Identity(
        session_id=session,
        agent_id=more.pop("agent_id", "agent"),
        root_session_id=session,
        because=Because.HISTORY,
        confidence=1.0,
        evidence="it says so",
        kind=Kind(more.pop("is_taken_for", kind)),
        client_name="codex",
        **more,
    )
    return Told(f"call {label} {session}", label, kind, identity)


def child(label: str, session: str, parent: str, relation: Relation = Relation.SUBAGENT) -> Told:
    agent = "helper" if relation is Relation.SUBAGENT else "agent"
    return told(label, session, parent_session_id=parent, relation=relation, agent_id=agent)


def test_nothing_is_wrong_where_every_talk_has_a_session_of_its_own() -> None:
    calls = [
        told("a", "s1", "title"), told("a", "s1"), child("a/b", "s2", "s1"),
        child("a~1", "s3", "s1", Relation.FORK),
    ]  # fmt: skip

    assert mistakes(calls, "codex") == []


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([told("a", "s1"), told("a", "s1"), told("a", "s2")], {"sessions"}),
        ([told("a", "s1"), told("b", "s1")], {"sessions"}),
        ([told("a", "s1"), told("a/b", "s2", agent_id="helper")], {"parents"}),
        ([told("a", "s1"), child("a/b", "s2", "s3")], {"parents"}),
        ([told("a", "s1"), told("a", "s1", "title", is_taken_for="main")], {"kinds"}),
        ([told("a", "s1"), told("a", "s1"), told("a", "s1", agent_id="other")], {"agents"}),
    ],
)
def test_each_mistake_is_found_in_its_aspect(calls: list[Told], expected: set[str]) -> None:
    assert {mistake.aspect for mistake in mistakes(calls)} == expected


def test_a_client_by_another_name_is_a_mistake() -> None:
    assert {mistake.aspect for mistake in mistakes([told("a", "s1")], "gemini-cli")} == {"agents"}


def test_the_table_tells_what_is_wrong_from_what_cannot_be_told() -> None:
    lost = Mistake("forked", "sessions", "main", "a main call of forked~1 is in forked")
    wrong = Mistake("forked", "kinds", "title", "a title call of forked is main")
    row = Row("codex", "1.0", "forked", 8, [], [wrong], [lost])
    drawing = io.StringIO()

    Console(width=130, file=drawing).print(table([row]))
    drawn = drawing.getvalue()

    assert why_undecidable("codex", lost)
    assert not why_undecidable("codex", wrong)
    assert "right / undecidable" in drawn
    assert "1 WRONG / right" in drawn
    assert not row.is_right
    assert row._replace(with_ids=[]).is_right
    assert [line.partition(":")[0] for line in notes([row])] == [
        "codex, forked, with ids", "Undecidable without ids (codex, forked)",
    ]  # fmt: skip


# Without ids


def recorded(headers: dict[str, str], body: dict[str, Any], path: str = "/v1/messages") -> Recorded:
    request = Request(
        "POST", "https", "llm.example", 443, path, tuple(headers.items()), make.encoded(body),
        Client(user_agent=headers.get("user-agent", "")),
    )  # fmt: skip
    identity = told("a", "s1").identity
    return Recorded("call_1", request, identity, 200, [], "", 1.0, 2.0, False)


def test_without_ids_a_call_declares_nothing() -> None:
    """Every header by which a row of the table knows these agents, and their members."""
    rows = {row.name: row for row in load().clients.clients}
    agents = {agent.client for agent in AGENTS}
    places = [place for name in agents for place in rows[name].places()]
    names = {place.partition(":")[2].partition("#")[0] for place in places if "header:" in place}
    user_agents = ("claude-cli/2", "codex_exec/0", "opencode/1", "GeminiCLI-tui/0")
    body = make.body(Dialect.ANTHROPIC) | {
        "metadata": {"user_id": json.dumps({"session_id": "s"})},
        "client_metadata": {"session_id": "s"},
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_is_subagent=true"}],
    }

    for user_agent in user_agents:
        headers = dict.fromkeys(names, "5a0f9a9c") | {"user-agent": user_agent}
        request = without_ids(recorded(headers, body)).request
        call = make.read(request.path, json.loads(request.body))
        said = Declarations(load().clients).read(request, call)

        assert request.header("user-agent") == user_agent
        assert (said.session, said.run, said.parent, said.kind) == ("", "", "", None)
        assert json.loads(request.body)["messages"] == body["messages"]


# Names on the wire


def test_names_on_the_wire_are_names_alone() -> None:
    headers = {"X-Meta": '{"turn": {"id": "secret"}}', "user-agent": "secret"}
    said = [{"user": '{"secret": 1}'}, {"call": {"name": "look", "arguments": {"secret": 1}}}]
    body = make.body(Dialect.ANTHROPIC, said, tools=["look"]) | {"/secret/path": 1}

    names = wire_names([recorded(headers, body)])

    assert {"header x-meta", "header x-meta#turn.id", "body messages[].content[].input"} <= set(
        names
    )
    assert "secret" not in str(names)


def test_what_came_and_what_went_is_said_with_the_kind_of_call() -> None:
    old = {"header a": {"main"}, "header b": {"main", "title"}}
    new = {"header a": {"main"}, "header c": {"main"}}

    assert changes(old, new) == ["+ header c (main)", "- header b (main, title)"]


# The command


def compliance(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.compliance", *words]
    environment = {"HOME": str(Path.home())} | environment
    return subprocess.run(
        command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_where_it_cannot_run_it_says_so_and_nothing_is_wrong() -> None:
    result = compliance("--quick", PATH="/nowhere")

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("compliance: skipped: node is not there")


def test_outside_of_a_namespace_it_is_not_inside() -> None:
    assert not namespace.is_inside()


def test_a_real_agent_is_recognised_with_its_ids_and_without() -> None:
    if not program(CODEX, CODEX.version):
        pytest.skip(f"Codex {CODEX.version} is not installed; scripts/compliance installs it")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    result = compliance("--agent", "codex", "--scenario", "continued", PATH=path)
    if "skipped" in result.stdout:
        pytest.skip(result.stdout.strip())

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("right / right") == 7
    assert "wrong" not in result.stdout.lower()
