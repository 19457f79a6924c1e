"""Plays an agent's scenarios through a real mitmdump, and brings home what was recorded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from callerid.commands.launch import environment
from callerid.traces.database import Recorded, all_calls, open_database
from lab import Proxy, bounded
from lab.compliance.agent import Agent, Scenario
from lab.compliance.model import NOTES, Heard, Model
from lab.compliance.provider import Provider

ADDON = Path(__file__).parents[3] / "addon" / "main.py"
_SECONDS = 120.0  # of one run of an agent; the slowest takes about 15
_WRITTEN = "The tide is high at noon.\nThe bridge is closed on Mondays.\n"
_ALL_HOSTS = "|^https?://(?!localhost[:/])[^/]+/|"


class Played(NamedTuple):
    """What came of an agent's scenarios: the truth, the record, and what did not go as meant."""

    heard: list[Heard]
    recorded: list[Recorded]
    troubles: dict[str, list[str]]  # by scenario


def play(agent: Agent, program: Path, scenarios: list[Scenario], folder: Path) -> Played:
    """Play scenarios in `folder`, which keeps homes, projects, logs and traces.db."""
    traces = folder / "traces.db"
    model = Model(folder / "projects")
    troubles: dict[str, list[str]] = {}
    with Provider(model, opens_sockets=agent.opens_sockets) as provider:
        options = {
            "callerid_db": str(traces),
            "map_remote": [f"{_ALL_HOSTS}{provider.url}/"],
        }
        with Proxy(ADDON, provider=provider, options=options) as proxy:
            variables = environment(proxy.url, proxy.ca_file)
            stage = _Stage(agent, program, folder, variables)
            for scenario in scenarios:
                already = len(model.heard)
                troubles[scenario.name] = stage.play(scenario)
                troubles[scenario.name] += missing(scenario, model.heard[already:])
            proxy.stop()
            (folder / "logs" / "proxy.log").write_text(proxy.log)
    database = open_database(traces)
    recorded = list(all_calls(database))
    database.conn.close()
    return Played(model.heard, recorded, troubles)


def missing(scenario: Scenario, heard: list[Heard]) -> list[str]:
    """What should have come of a scenario, and did not."""
    labels = {one.label for one in heard}
    kinds = {one.kind for one in heard}
    wanted = [f"call of {label}" for label in scenario.labels() if label not in labels]
    wanted += [f"{kind} call" for kind in sorted(scenario.kinds - kinds)]
    return [f"the agent made no {what}" for what in wanted]


class _Stage:
    """Runs an agent's command, for each scenario with a home and a project of its own."""

    def __init__(
        self, agent: Agent, program: Path, folder: Path, variables: dict[str, str]
    ) -> None:
        self._agent, self._program, self._folder = agent, program, folder
        self._variables = variables
        (folder / "logs").mkdir(parents=True, exist_ok=True)

    def play(self, scenario: Scenario) -> list[str]:
        home, project = self._folders(scenario)
        sessions: dict[str, str] = {}
        troubles = []
        for number, say in enumerate(scenario.says, 1):
            words = self._agent.words(say, sessions.get(say.of, ""))
            printed, status = self._run(words, home, project)
            log = self._folder / "logs" / f"{scenario.name}-{number}.log"
            log.write_text(printed)
            if labels := Scenario("", (say,)).labels():
                sessions[labels[0]] = self._agent.session_of(printed)
            if status:
                troubles.append(f"run {number} ended with {status}: {_last_line(printed)}")
        return troubles

    def _folders(self, scenario: Scenario) -> tuple[Path, Path]:
        home = self._folder / "homes" / scenario.name
        project = self._folder / "projects" / scenario.name
        project.mkdir(parents=True)
        (project / NOTES).write_text(_WRITTEN)
        home.mkdir(parents=True)
        for name, text in self._agent.home.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        return home, project

    def _run(self, words: list[str], home: Path, project: Path) -> tuple[str, int]:
        command = ["node"] * (self._program.suffix == ".js") + [str(self._program), *words]
        return bounded.run(command, project, self._environment(home), _SECONDS)

    def _environment(self, home: Path) -> dict[str, str]:
        node = os.path.dirname(shutil.which("node") or "")
        path = os.pathsep.join(filter(None, (node, "/usr/local/bin", "/usr/bin", "/bin")))
        fresh = {"HOME": str(home), "PATH": path, "TERM": "dumb", "LANG": "C.UTF-8",
                 "USER": "dev", "SHELL": "/bin/bash"}  # fmt: skip
        return fresh | self._variables | self._agent.environment


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"
