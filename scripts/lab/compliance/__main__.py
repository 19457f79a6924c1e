"""The command: installs, goes where no network is, plays, and prints the table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab.compliance import namespace
from lab.compliance.agent import Agent
from lab.compliance.agents import AGENTS, QUICK
from lab.compliance.install import AT_MOST, CannotInstall, install, newest
from lab.compliance.judge import judge
from lab.compliance.play import Played, play
from lab.compliance.report import Row, notes, rows, table
from lab.compliance.wirenames import changes, wire_names

_QUICK_SECONDS = 120.0  # for installing one agent, where somebody waits for all the checks
_WIDTH = 130  # where the output is no terminal


def main() -> int:
    options = _options()
    if namespace.is_inside():
        return _play(options)
    way = namespace.way_in()
    if trouble := _cannot(way):
        print(f"compliance: skipped: {trouble}")
        return 0
    try:
        seconds = _QUICK_SECONDS if options.quick else AT_MOST
        versions = _install(_agents(options.agent), seconds, asks_newest=options.latest)
    except CannotInstall as error:
        print(f"compliance: skipped: {error}")
        return 0
    namespace.enter(way, ["-m", "lab.compliance", *sys.argv[1:], *versions])
    return 1


def _cannot(way: tuple[str, ...]) -> str:
    if not shutil.which("node"):
        return "node is not there, with which some of the agents run"
    if not way:
        return "a network namespace needs root, and the programs ip and unshare"
    return ""


def _install(agents: list[Agent], seconds: float, *, asks_newest: bool) -> list[str]:
    """Install what is to be played, pinned and newest; the newest as words for `--newest`."""
    words: list[str] = []
    for agent in agents:
        install(agent, agent.version, seconds)
        if asks_newest:
            version = newest(agent)
            install(agent, version, seconds)
            words += ["--newest", f"{agent.name}={version}"]
    return words


def _options() -> argparse.Namespace:
    names = sorted({agent.package_name for agent in AGENTS})
    scenarios = sorted({one.name for agent in AGENTS for one in agent.scenarios})
    parser = argparse.ArgumentParser(prog="scripts/compliance", description=__doc__)
    parser.add_argument("--agent", action="append", default=[], choices=names)
    parser.add_argument("--scenario", action="append", default=[], choices=scenarios)
    parser.add_argument("--quick", action="store_true", help=f"only {' and '.join(QUICK)}")
    parser.add_argument("--keep", action="store_true", help="keep traces and logs; say where")
    parser.add_argument("--latest", action="store_true", help="the newest releases too")
    parser.add_argument("--newest", action="append", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.scenario += QUICK if options.quick else ()
    return options


def _agents(names: list[str]) -> list[Agent]:
    return [agent for agent in AGENTS if not names or agent.package_name in names]


def _play(options: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="callerid-compliance-"))
    newest_of = dict(said.split("=") for said in options.newest)
    trial = _Trial(folder, console)
    for agent in _agents(options.agent):
        names = [one.name for one in agent.scenarios]
        names = [name for name in names if not options.scenario or name in options.scenario]
        played = trial.play(agent, names)
        if version := newest_of.get(agent.name):
            trial.compare(agent, names, played, version)
    console.print(table(trial.rows))
    for line in (*notes(trial.rows), *trial.changed):
        console.print(line, soft_wrap=True, markup=False)
    if options.keep:
        print(f"Traces and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0 if all(row.is_right for row in trial.rows) else 1


class _Trial:
    """Plays one agent after the other, and keeps the rows and what changed on the wire."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.rows: list[Row] = []
        self.changed: list[str] = []
        self._folder, self._console = folder, console

    def play(self, agent: Agent, names: list[str]) -> Played:
        """Play some scenarios of an agent; its rows are kept."""
        self._console.print(f"{agent.name} {agent.version}: {', '.join(names)}")
        scenarios = [agent.scenario(name) for name in names]
        place = self._folder / f"{agent.name} {agent.version}"
        played = play(agent, install(agent, agent.version), scenarios, place)
        self.rows += rows(agent, names, judge(agent, played))
        return played

    def compare(self, agent: Agent, names: list[str], played: Played, version: str) -> None:
        """Play the same with another version; what it changed on the wire is kept."""
        if version == agent.version:
            self.changed.append(f"{agent.name}: {version} is the newest there is")
            return
        again = self.play(agent._replace(version=version), names)
        lines = changes(wire_names(played.recorded), wire_names(again.recorded))
        said = "changed on the wire" if lines else "changed no name on the wire"
        self.changed += [f"{agent.name}: {version} {said}, since {agent.version}", *lines]


if __name__ == "__main__":
    sys.exit(main())
