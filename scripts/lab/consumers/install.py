"""Installs real consumers with pip, each into a virtual environment of its own in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lab.compliance.install import AT_MOST, CannotInstall, cache
from lab.consumers.consumer import Consumer

_MADE_OF = "made-of"  # written last: without it, or with other words in it, it is made again


def programs(consumer: Consumer) -> Path | None:
    """The folder of the installed programs; None where those packages are not installed."""
    folder = _folder(consumer)
    try:
        is_whole = (folder / _MADE_OF).read_text() == _made_of(consumer)
    except OSError:
        is_whole = False
    # The link may lead nowhere: a Python can go.
    return folder / "bin" if is_whole and (folder / "bin" / "python").exists() else None


def install(consumer: Consumer, seconds: float = AT_MOST) -> Path:
    """The folder of the programs, installed now if they are not; raises CannotInstall."""
    if found := programs(consumer):
        return found
    folder = _folder(consumer)
    print(f"installing {consumer.name} {consumer.version} into {folder} (once)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    until = time.monotonic() + seconds
    for command in _commands(consumer, folder):
        _run(consumer, command, until - time.monotonic())
    (folder / _MADE_OF).write_text(_made_of(consumer))
    return folder / "bin"


def _folder(consumer: Consumer) -> Path:
    return cache("consumers") / f"{consumer.name}@{consumer.version}"


def _made_of(consumer: Consumer) -> str:
    return "\n".join((*consumer.packages, "alone:", *consumer.alone))


def _commands(consumer: Consumer, folder: Path) -> Iterator[list[str]]:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq",
           "--disable-pip-version-check"]  # fmt: skip
    yield [sys.executable, "-m", "venv", str(folder)]
    yield [*pip, *consumer.packages]
    if consumer.alone:
        yield [*pip, "--no-deps", *consumer.alone]


def _run(consumer: Consumer, command: list[str], seconds: float) -> None:
    what = f"{consumer.name} {consumer.version}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"installing {what} took too long") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotInstall(f"pip cannot install {what}: {'; '.join(said)[-300:] or 'it failed'}")
