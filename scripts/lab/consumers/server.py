"""A consumer's process: started, waited for, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

_START_SECONDS = 90.0  # LiteLLM takes 7 with two cores to itself, and 20 the first time
_STOP_SECONDS = 15.0
_LOG_SECONDS = 15.0  # logs are written behind the calls, every second or so
_EVERY = 0.05
_TAIL = 3000  # characters of a log that tell why


class Server:
    """Runs while the `with` block lasts; what it prints goes to `log`.

    Nothing of this process's environment is passed on but what is in `env`.
    """

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self._command, self._env, self._log = command, env, log

    def __enter__(self) -> Self:
        home = self._log.parent
        place = home / "at" / "work"  # LiteLLM imports what lies two folders above it
        place.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=place, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin"} | self._env,
            )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, which: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, which)

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        return self._process.pid

    def wait_for(self, url: str, text: str) -> None:
        """Wait until a page holds a text; raises RuntimeError with the end of the log."""
        with httpx.Client(trust_env=False) as client:
            if not _soon(lambda: self._ended() or _page_holds(client, url, text), _START_SECONDS):
                raise RuntimeError(f"expected {text!r} at {url}, but: {self._tail()}")
        if self._ended():
            raise RuntimeError(f"expected a server at {url}, but it ended: {self._tail()}")

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-_TAIL:]


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_for_log(has_all: Callable[[], bool]) -> None:
    """Wait until a log has what it should have, or for as long as one waits for a log."""
    _soon(has_all, _LOG_SECONDS)


def _soon(happens: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > until:
            return False
        time.sleep(_EVERY)
    return True


def _page_holds(client: httpx.Client, url: str, text: str) -> bool:
    try:
        return text in client.get(url).text
    except httpx.HTTPError:
        return False
