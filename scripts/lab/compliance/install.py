"""Installs real agents with npm, each version into a folder of its own in the user's cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from lab.compliance.agent import Agent

AT_MOST = 1800.0  # seconds for one agent, the largest of which has about 500 MB
_MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class CannotInstall(RuntimeError):
    """npm could not do it; the message says what it said."""


def cache(what: str = "agents") -> Path:
    """Where agents and the like are installed: never in the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "callerid" / what


def package(agent: Agent) -> str:
    """The agent's npm package on this machine."""
    return agent.package.format(system=_system())


def _system() -> str:
    """The system as npm packages of native programs name it."""
    return f"{platform.system().lower()}-{_MACHINES.get(platform.machine(), 'x64')}"


def program(agent: Agent, version: str) -> Path | None:
    """The installed program; None where that version is not installed."""
    folder = cache() / f"{agent.package_name}@{version}" / "node_modules"
    return next(iter(sorted(folder.glob(agent.program.format(system=_system())))), None)


def install(agent: Agent, version: str, seconds: float = AT_MOST) -> Path:
    """The program of that version, installed now if it is not; raises CannotInstall."""
    if found := program(agent, version):
        return found
    folder = cache() / f"{agent.package_name}@{version}"
    named = f"{package(agent)}@{version}"
    print(f"installing {named} into {folder} (once)", flush=True)
    half = folder.with_name(folder.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    options = ("--loglevel=error", "--no-fund", "--no-audit", "--prefix", str(half))
    _npm("install", *options, named, seconds=seconds)
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)
    if found := program(agent, version):
        return found
    raise CannotInstall(f"npm installed {named}, but there is no {agent.program} in {folder}")


def newest(agent: Agent) -> str:
    """The newest version that the registry has; raises CannotInstall."""
    return _npm("view", package(agent), "version", seconds=AT_MOST).strip()


def _npm(*words: str, seconds: float) -> str:
    if not shutil.which("npm"):
        raise CannotInstall(f"npm is not there, which could {words[0]} {words[-1]}")
    command = ["npm", *words, "--fetch-retries", "1"]  # without a network it soon says so
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"npm {words[0]} {words[-1]} took {seconds:.0f} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise CannotInstall(f"npm {words[0]} {words[-1]}: {'; '.join(said[:2]) or 'it failed'}")
    return done.stdout
