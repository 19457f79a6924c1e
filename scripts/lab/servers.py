"""Real servers for what proxies share: Redis and PostgreSQL, on free ports, and gone after."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_START_SECONDS = 30.0
_NOBODY = 65534  # PostgreSQL refuses to run as root


class Missing(Exception):
    """A server that is not installed; the message says how it would be."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _program(name: str, package: str) -> str:
    """A server's program, wherever Debian has put it; raises Missing."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(newest[-1]) if newest else "")
    if not found:
        raise Missing(f"{name} is not installed (Debian: apt install {package})")
    return found


class RedisServer:
    """A redis-server (or valkey-server) that keeps nothing on disk; runs in a `with` block."""

    def __init__(self) -> None:
        self._program = shutil.which("valkey-server") or _program("redis-server", "redis-server")
        self._folder = tempfile.TemporaryDirectory(prefix="lab-redis-")
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Begin, with nothing in it; also after `kill`."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                 "no", "--dir", self._folder.name]  # fmt: skip
        self.process = subprocess.Popen([self._program, *words], stdout=subprocess.DEVNULL)
        _wait_for(self.port)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """Let it answer nobody, though its port is open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self.process.send_signal(signal.SIGCONT)


class PostgresServer:
    """A PostgreSQL of our own, in a folder that goes with it; runs in a `with` block."""

    def __init__(self) -> None:
        self._initdb = _program("initdb", "postgresql")
        self._postgres = _program("postgres", "postgresql")
        self._folder = tempfile.TemporaryDirectory(prefix="lab-postgres-")
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"postgresql://callerid@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        data = Path(self._folder.name) / "data"
        data.mkdir()
        if os.geteuid() == 0:
            os.chmod(self._folder.name, 0o755)
            os.chown(data, _NOBODY, _NOBODY)
        words = ["-D", str(data), "-U", "callerid", "-A", "trust", "-N", "-E", "UTF8"]
        self._run([self._initdb, *words]).wait()
        words = ["-D", str(data), "-p", str(self.port), "-h", "127.0.0.1", "-k", "",
                 "-c", "fsync=off"]  # fmt: skip
        self.process = self._run([self._postgres, *words])
        _wait_for(self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGINT)  # a fast shutdown: it lets nobody finish
        self.process.wait()
        self._folder.cleanup()

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self._folder.name, env=os.environ | {"LC_ALL": "C"}, **who,
        )  # fmt: skip


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except OSError:
            if time.monotonic() > end:
                raise RuntimeError(f"nobody answers at port {port}") from None
            time.sleep(0.02)
        else:
            return
