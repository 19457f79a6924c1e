"""Installs frameworks with uv, pip or npm, each into a folder of its own in the user's cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lab.compliance.install import AT_MOST, CannotInstall, cache
from lab.frameworks.framework import Framework

_MADE_OF = "made-of"  # written last: without it, or with other words in it, it is made again


def installed(framework: Framework) -> Path | None:
    """The folder of an installed framework; None where those packages are not installed."""
    folder = cache("frameworks") / framework.folder
    try:
        is_whole = (folder / _MADE_OF).read_text() == "\n".join(framework.packages)
    except OSError:
        is_whole = False
    # The link may lead nowhere: a Python can go.
    runs = bool(shutil.which(program(framework, folder)))
    return folder if is_whole and runs else None


def install(framework: Framework, seconds: float = AT_MOST) -> Path:
    """The folder of the framework, installed now if it is not; raises CannotInstall."""
    if found := installed(framework):
        return found
    if framework.registry == "npm" and not (shutil.which("node") and shutil.which("npm")):
        raise CannotInstall(f"{framework.name} {framework.version} needs node and npm")
    folder = cache("frameworks") / framework.folder
    print(f"installing {framework.name} {framework.version} into {folder} (once)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    until = time.monotonic() + seconds
    for command in _commands(framework, folder):
        _run(framework, command, until - time.monotonic())
    (folder / _MADE_OF).write_text("\n".join(framework.packages))
    return folder


def program(framework: Framework, folder: Path) -> str:
    """What runs its scenarios."""
    return "node" if framework.registry == "npm" else str(folder / "bin" / "python")


def _commands(framework: Framework, folder: Path) -> Iterator[list[str]]:
    if framework.registry == "npm":
        quiet = ("--loglevel=error", "--no-fund", "--no-audit", "--fetch-retries", "1")
        yield ["npm", "install", *quiet, "--prefix", str(folder), *framework.packages]
        return
    python = str(folder / "bin" / "python")
    yield [sys.executable, "-m", "venv", str(folder)]
    if uv := shutil.which("uv"):  # several times as fast, and shares what they have in common
        yield [uv, "pip", "install", "--quiet", "--python", python, *framework.packages]
    else:
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        yield [*pip, *framework.packages]


def _run(framework: Framework, command: list[str], seconds: float) -> None:
    what = f"{framework.name} {framework.version}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=max(seconds, 0)
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"installing {what} took too long") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        why = "; ".join(said)[-300:] or done.stderr.strip()[-300:] or "it failed"
        raise CannotInstall(f"{what} cannot be installed: {why}")
