"""The command: installs, goes where no network is, plays, and prints the table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab.compliance import namespace
from lab.compliance.agent import Agent, Scenario
from lab.compliance.agents import AGENTS
from lab.compliance.install import install
from lab.compliance.judge import judge
from lab.compliance.play import play
from lab.compliance.report import Row, notes, rows, table


def main() -> int:
    options = _options()
    if namespace.is_inside():
        return _play(options)
    way = namespace.way_in()
    if trouble := _cannot(way):
        print(f"compliance: skipped: {trouble}")
        return 0
    for agent in _agents(options.agent):
        install(agent, agent.version)
    namespace.enter(way, ["-m", "lab.compliance", *sys.argv[1:]])
    return 1


def _cannot(way: tuple[str, ...]) -> str:
    if not shutil.which("npm"):
        return "npm is not there, which installs the agents"
    if not way:
        return "a network namespace needs root, and the programs ip and unshare"
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/compliance", description=__doc__)
    parser.add_argument("--agent", action="append", default=[], metavar="NAME")
    parser.add_argument("--scenario", action="append", default=[], metavar="NAME")
    parser.add_argument("--keep", action="store_true", help="keep traces and logs; say where")
    return parser.parse_args()


def _agents(names: list[str]) -> list[Agent]:
    return [agent for agent in AGENTS if not names or {agent.name, agent.package_name} & set(names)]


def _scenarios(agent: Agent, names: list[str]) -> list[Scenario]:
    return [scenario for scenario in agent.scenarios if not names or scenario.name in names]


def _play(options: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="callerid-compliance-"))
    found: list[Row] = []
    for agent in _agents(options.agent):
        scenarios = _scenarios(agent, options.scenario)
        if not scenarios:
            continue
        console.print(f"{agent.name} {agent.version}: {', '.join(one.name for one in scenarios)}")
        played = play(agent, install(agent, agent.version), scenarios, folder / agent.name)
        found += rows(agent, [one.name for one in scenarios], judge(agent, played))
    console.print(table(found))
    for note in notes(found):
        console.print(note, soft_wrap=True)
    if options.keep:
        print(f"Traces and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0 if all(row.is_right for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
