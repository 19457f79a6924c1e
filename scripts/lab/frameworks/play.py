"""Plays scenarios through a real mitmdump before the model, and brings home what it heard."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lab import FakeProvider, Proxy, bounded
from lab.exchange import Asked
from lab.frameworks.framework import Framework
from lab.frameworks.install import program
from lab.frameworks.label import ROLES, Label, label_of
from lab.frameworks.mind import Mind
from lab.frameworks.request import read

SCENARIOS = Path(__file__).with_name("scenarios")
_ADDON = Path(__file__).parents[3] / "addon" / "main.py"
_SECONDS = 180.0  # of one scenario; the slowest takes about 25 on two cores
_TAIL = 200  # characters of what a scenario printed that tell why it failed
_KEY = "sk-lab-0123456789abcdef0123456789"
# They look for keys though they are given one, and some would report home.
_SETTINGS = {
    "AGNO_TELEMETRY": "false",
    "ANTHROPIC_API_KEY": _KEY,
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "GOOGLE_API_KEY": _KEY,
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
    "MSWEA_CONFIGURED": "1",
    "MSWEA_COST_TRACKING": "ignore_errors",
    "MSWEA_SILENT_STARTUP": "1",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OPENAI_API_KEY": _KEY,
    "OTEL_SDK_DISABLED": "true",
}


class Heard(NamedTuple):
    """A call as it arrived at the model: who truly made it, and what callerid says.

    It `begins` where it has nothing that the model said.
    """

    label: Label
    session: str
    parent: str
    agent: str
    begins: bool


class Stage:
    """A proxy before the model; each scenario is a process of its own."""

    def __init__(self, folder: Path, provider: FakeProvider, proxy: Proxy) -> None:
        self._folder, self._provider, self._proxy = folder, provider, proxy

    def play(self, framework: Framework, installed: Path, scenario: str) -> str:
        """Play a scenario; what did not go as meant, "" where all did."""
        folder = self._folder / Path(scenario).stem
        folder.mkdir()
        talk = SCENARIOS / f"talk{Path(scenario).suffix}"
        for file in (SCENARIOS / scenario, talk):
            shutil.copy(file, folder)
        if framework.registry == "npm":  # a module is looked for where the one that wants it lies
            (folder / "node_modules").symlink_to(installed / "node_modules")
        command = [program(framework, installed), scenario]
        environment = self._environment(framework, folder)
        printed, status = bounded.run(command, folder, environment, _SECONDS)
        (folder / "printed.log").write_text(printed)
        if status:
            return f"ended with {status}: {_last_line(printed)}"
        roles = {one.label.role for one in self.heard(scenario)}
        missing = roles_of((SCENARIOS / scenario).read_text()) - roles
        return f"made no call as {' or '.join(sorted(missing))}" if missing else ""

    def heard(self, scenario: str) -> list[Heard]:
        """The calls of a scenario so far, in the order in which they came."""
        every = (_heard(asked) for asked in list(self._provider.asked))
        return [one for one in every if one and one.label.scenario == Path(scenario).stem]

    def _environment(self, framework: Framework, folder: Path) -> dict[str, str]:
        node = os.path.dirname(shutil.which("node") or "")
        path = os.pathsep.join(filter(None, (node, "/usr/local/bin", "/usr/bin", "/bin")))
        ours = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": path, "LANG": "C.UTF-8"}
        where = {"LAB_URL": self._proxy.url, "LAB_SCENARIO": folder.name}
        return ours | where | _SETTINGS


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage in a folder, which keeps the log of each scenario and of the proxy, and traces.db."""
    with FakeProvider(Mind(), tls=False) as provider:
        options = {"callerid_db": str(folder / "traces.db")}
        mode = f"reverse:http://127.0.0.1:{provider.port}"
        with Proxy(_ADDON, mode=mode, options=options) as proxy:
            yield Stage(folder, provider, proxy)
            proxy.stop()
            (folder / "proxy.log").write_text(proxy.log)


def roles_of(scenario: str) -> set[str]:
    """The roles that a scenario's text gives to somebody."""
    return {role for role in ROLES if re.search(rf'\b{role.upper()}\b|"{role}"', scenario)}


def _heard(asked: Asked) -> Heard | None:
    label = label_of(asked.path)
    if label is None or asked.method != "POST":
        return None
    seen = read(asked)
    return Heard(
        label,
        asked.header("x-callerid-session-id"),
        asked.header("x-callerid-parent-session-id"),
        asked.header("x-callerid-agent-id"),
        not seen.turns and not seen.after,
    )


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return lines[-1][:_TAIL] if lines else "it printed nothing"
