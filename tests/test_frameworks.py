"""Real agent frameworks: the judge's and the model's own parts, and one where it is there."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.exchange import Asked
from lab.frameworks import report
from lab.frameworks.framework import FRAMEWORKS, QUICK
from lab.frameworks.install import installed
from lab.frameworks.judge import judge, talks
from lab.frameworks.label import HANDED, HELPER, MAIN, PEER, TOLD, Label, label_of
from lab.frameworks.mind import Mind
from lab.frameworks.play import SCENARIOS, Heard, roles_of
from lab.frameworks.report import Known, Row, notes, table

SCRIPTS = Path(__file__).parents[1] / "scripts"
SEARCH = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


def heard(
    role: str,
    session: str,
    parent: str = "",
    agent: str = "",
    *,
    of: str = "0",
    begins: bool = False,
) -> Heard:
    """A call of a conversation; an agent is named as its role if nothing else is said."""
    return Heard(Label("trial", of, role, role), session, parent, agent or f"agent_{role}", begins)


RIGHT = [
    heard(MAIN, "one", begins=True),
    heard(HELPER, "errand-1", "one", begins=True),
    heard(HELPER, "errand-1", "one"),
    heard(MAIN, "one"),
    heard(HELPER, "errand-2", "one", begins=True),
    heard(HANDED, "one"),
    heard(TOLD, "told", "one"),
    heard(MAIN, "two", of="1", begins=True),
    heard(PEER, "writer", of="2", begins=True),
    heard(PEER, "writer", of="2"),
]


def wrong(*calls: Heard) -> list[str]:
    return [one.aspect for one in judge(list(calls))]


# What is right and what is not


def test_nothing_is_wrong_where_each_talk_is_one_session_below_the_right_one() -> None:
    assert judge(RIGHT) == []
    assert len(set(talks(RIGHT))) == 6  # the handed one goes on with the main one


@pytest.mark.parametrize(
    ("at", "changed", "aspect"),
    [
        (3, {"session": "another"}, "sessions"),
        (5, {"session": "another"}, "sessions"),
        (4, {"session": "errand-1"}, "sessions"),
        (7, {"session": "one"}, "sessions"),
        (6, {"session": "one"}, "sessions"),
        (9, {"session": ""}, "sessions"),
        (1, {"parent": ""}, "parents"),
        (1, {"parent": "two"}, "parents"),
        (6, {"parent": ""}, "parents"),
        (3, {"parent": "two"}, "parents"),
        (8, {"parent": "one"}, "parents"),
        (2, {"agent": "agent_other"}, "agents"),
        (9, {"agent": ""}, "agents"),
    ],
)
def test_one_call_that_is_told_otherwise_is_one_mistake(
    at: int, changed: dict[str, Any], aspect: str
) -> None:
    calls = [*RIGHT]
    calls[at] = calls[at]._replace(**changed)

    assert wrong(*calls) == [aspect]


def test_a_session_of_two_conversations_is_the_one_that_has_more_of_it() -> None:
    calls = [heard(MAIN, "one"), heard(MAIN, "one"), heard(MAIN, "one", of="1")]
    (mistake,) = judge(calls)

    assert mistake.words == (
        "conversation 1, main: a call is in the session of trial, conversation 0, main"
    )


def test_a_label_is_read_from_the_path_and_from_nowhere_else() -> None:
    label = label_of("/as/trial/3/helper/writer/1/v1/chat/completions")

    assert label == Label("trial", "3", HELPER, "writer", 1)
    assert label_of("/v1/chat/completions") is None
    assert label_of("/as/trial/3/nobody/writer/1/v1/chat/completions") is None


# The model


def asked(path: str, body: dict[str, Any], serial: int = 1) -> Asked:
    return Asked(serial, "POST", path, "", (), json.dumps(body).encode(), "1.1")


def test_the_model_uses_a_tool_as_often_as_the_label_says_and_the_same_each_time() -> None:
    tool = {"type": "function", "function": {"name": "search", "parameters": SEARCH}}
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Go!"}], "tools": [tool]}
    path = "/as/trial/0/main/lead/1/v1/chat/completions"
    mind = Mind()
    first = mind(asked(path, body))
    body["messages"] += [{"role": "assistant", "content": first.text}, {"role": "tool"}]

    assert [call.name for call in first.tool_calls] == ["search"]
    assert first.tool_calls[0].arguments.keys() == {"query"}
    assert mind(asked(path, body)).tool_calls == ()
    assert Mind()(asked(path, {**body, "messages": body["messages"][:1]})) == first


def test_the_model_remembers_what_a_response_that_is_named_had_before() -> None:
    tool = {"type": "function", "name": "search", "parameters": SEARCH}
    path = "/as/trial/0/main/lead/1/v1/responses"
    mind = Mind()
    mind(asked(path, {"input": "Go!", "tools": [tool]}))
    result = {"type": "function_call_output", "output": "nothing"}
    after = {"previous_response_id": f"resp_{1:024}", "input": [result], "tools": [tool]}

    assert mind(asked(path, after, 2)).tool_calls == ()
    assert Mind()(asked(path, after, 2)).tool_calls  # who does not remember begins anew


def test_the_model_answers_nobody_without_a_label() -> None:
    assert Mind()(asked("/v1/chat/completions", {"messages": []})).status == 404


# The table


def drawn(*rows: Row) -> str:
    console = Console(file=io.StringIO(), width=130)
    console.print(table(rows), *notes(rows), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_wrong_fails_unless_it_is_known_and_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = judge([*RIGHT[:3], heard(MAIN, "other")])
    row = Row(FRAMEWORKS[0], "trial", 4, 2, tuple(broken))
    assert not row.is_right
    assert "1 WRONG" in drawn(row)

    monkeypatch.setattr(report, "KNOWN", {("trial", "sessions"): Known(1, "it cannot be told")})
    assert row.is_right
    assert "1 known" in drawn(row)
    assert "Known (trial, sessions): it cannot be told." in drawn(row)
    assert not row._replace(mistakes=row.mistakes * 2).is_right


def test_a_scenario_that_failed_is_not_right_and_one_that_is_not_there_is() -> None:
    failed = Row(FRAMEWORKS[0], "trial", trouble="ended with 1: it raised")
    missing = Row(FRAMEWORKS[0], "trial", missing="pip cannot")

    assert not failed.is_right
    assert "FAILED" in drawn(failed)
    assert missing.is_right
    assert "not installed" in drawn(missing)


def test_every_scenario_is_in_the_table_and_has_somebody_who_talks() -> None:
    named = [scenario for framework in FRAMEWORKS for scenario in framework.scenarios]
    there = {path.name for path in SCENARIOS.iterdir() if path.suffix in (".py", ".mjs")}

    assert sorted(named) == sorted(there - {"talk.py", "talk.mjs"})
    assert all(roles_of((SCENARIOS / name).read_text()) for name in named)
    assert all(re.fullmatch(r"[\d.]+", framework.version) for framework in FRAMEWORKS)
    assert set(QUICK) <= {framework.name for framework in FRAMEWORKS}


def test_what_is_known_is_about_scenarios_that_there_are() -> None:
    stems = {Path(name).stem for framework in FRAMEWORKS for name in framework.scenarios}

    assert {scenario for scenario, _ in report.KNOWN} <= stems


# The command


def frameworks(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.frameworks", "--frameworks", *words]
    environment = {"HOME": str(Path.home())} | environment
    return subprocess.run(
        command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def test_where_it_cannot_run_it_says_so_and_nothing_is_wrong() -> None:
    result = frameworks(PATH="/nowhere")

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("frameworks: skipped: a network namespace needs root")


def test_a_real_framework_that_names_no_session_is_recognised() -> None:
    (framework,) = (one for one in FRAMEWORKS if one.folder.startswith("openai-agents@"))
    if not installed(framework):
        named = f"{framework.name} {framework.version}"
        pytest.skip(f"{named} is not installed; scripts/compliance --frameworks installs it")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    result = frameworks("--framework", framework.name, PATH=path)
    if "skipped" in result.stdout:
        pytest.skip(result.stdout.strip())

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" right ") == 3 * len(framework.scenarios)
    assert "wrong" not in result.stdout.lower()
