"""A real mitmdump in a process of its own, with a fresh CA and nobody's settings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.certificates import VENDOR_HOSTS, certificates
from lab.provider import FakeProvider

_READY_SCRIPT = Path(__file__).with_name("ready.py")
_READY = r"lab: the proxy listens on (.*)"
_START_SECONDS = 30.0  # it takes 0.7; this is for a machine with much else to do
_STOP_SECONDS = 15.0


class Proxy:
    """Runs while the `with` block lasts.

    It trusts every fake provider of this process; calls to the vendors' public hosts go to the
    `provider`, if there is one. (They are mapped after the script has seen the request.)
    `options` are mitmproxy's (`--set key=value`; a list repeats the key), `env` is added to the
    environment, `program` may also be mitmweb, `beside` is a script that is loaded before. Relative
    files are written to `confdir`, which goes with the proxy, and callerid's traces to `traces` in
    it.
    """

    def __init__(
        self,
        script: Path | None = None,
        *,
        provider: FakeProvider | None = None,
        mode: str = "regular",
        options: Mapping[str, str | list[str]] | None = None,
        env: Mapping[str, str] | None = None,
        program: str = "mitmdump",
        beside: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lab-proxy-", ignore_cleanup_errors=True)
        self.confdir = Path(self._folder.name)
        self.ca_file = self.confdir / "mitmproxy-ca-cert.pem"
        self.port = 0
        scripts = [path.resolve() for path in (beside, script, _READY_SCRIPT) if path]
        self.traces = self.confdir / "traces.db"
        ours = {"callerid_db": str(self.traces)} if script else {}
        settings = (
            _base_options(self.confdir) | _vendors_go_to(provider) | ours | dict(options or {})
        )
        self._command = [
            str(Path(sys.executable).with_name(program)),
            *("--listen-host", "127.0.0.1", "--listen-port", "0", "--mode", mode),
            *_repeated("--set", settings),
            *(word for path in scripts for word in ("--scripts", str(path))),
        ]
        # Unbuffered, or the last lines of a process that dies stay in it.
        self._env = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(env or {})
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What the process has said so far, on both outputs."""
        with self._news:
            return "\n".join(self._lines)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self.confdir,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name="log of mitmdump")
        self._reader.start()
        try:
            ready = self.wait_for(_READY, seconds=_START_SECONDS)
        except BaseException:
            self.stop(signal.SIGKILL)
            self._folder.cleanup()
            raise
        self.port = json.loads(ready[1])[0][1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def wait_for(self, pattern: str, *, seconds: float = 10.0) -> re.Match[str]:
        """Return the match in the first line of the log that has one, now or later.

        Raises RuntimeError, with the log, if the process ends or the time is up before.
        """
        with self._news:
            self._news.wait_for(lambda: self._ended or self._first(pattern), seconds)
            if match := self._first(pattern):
                return match
            what = "mitmdump ended" if self._ended else f"mitmdump took {seconds} s"
        raise RuntimeError(f"expected {pattern!r} in the log, but {what}; it said:\n{self.log}")

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End the process, if it has not ended, and return its return code."""
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()
        return self._process.wait()

    def environment(self) -> dict[str, str]:
        """The variables with which a client process goes through this proxy and trusts it."""
        proxies = dict.fromkeys(
            ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self.url
        )
        nobody_else = dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        files = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CODEX_CA_CERTIFICATE")
        return proxies | nobody_else | dict.fromkeys(files, str(self.ca_file))

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as output:
            for line in output:
                with self._news:
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _first(self, pattern: str) -> re.Match[str] | None:
        matches = (re.search(pattern, line) for line in self._lines)
        return next(filter(None, matches), None)


def _base_options(confdir: Path) -> dict[str, str | list[str]]:
    return {
        "confdir": str(confdir),
        "connection_strategy": "lazy",  # no connection before a request is known to want it
        "ssl_verify_upstream_trusted_ca": str(certificates().ca),
    }


def _vendors_go_to(provider: FakeProvider | None) -> dict[str, str | list[str]]:
    if provider is None:
        return {}
    return {"map_remote": [f"|^https://{host}/|{provider.url}/" for host in VENDOR_HOSTS]}


def _repeated(flag: str, settings: Mapping[str, str | list[str]]) -> Iterator[str]:
    for key, value in settings.items():
        for one in value if isinstance(value, list) else [value]:
            yield from (flag, f"{key}={one}")
