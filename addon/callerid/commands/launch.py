"""Starts mitmproxy with the addon, alone or around an agent's command."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from callerid import files
from callerid.settings.load import environments

HOST = "127.0.0.1"  # mitmproxy's own default is every interface
PORT = 8080
START_SECONDS = 20.0
READY = "callerid: identifying"  # what the addon says once it runs
SILENT_SECONDS = 2.0  # a proxy that listens for so long and says nothing was told to be quiet
STOP_SECONDS = 15.0


class CannotStart(RuntimeError):
    """The proxy did not start; the message says what it said."""


def arguments(port: int, reverse: str, options: Sequence[str]) -> list[str]:
    """What mitmdump or mitmweb is given; `options` are the user's own and come last."""
    mode = ["--mode", f"reverse:{reverse}"] if reverse else []
    return [
        "--listen-host", HOST, "--listen-port", str(port), *mode,
        "--scripts", str(files.SCRIPT), *options,
    ]  # fmt: skip


def certificate(options: Sequence[str]) -> Path:
    """The certificate that clients must trust; it is made now if mitmproxy has not yet made it."""
    from mitmproxy import certs

    said = [option[8:] for option in options if option.startswith("confdir=")]
    folder = Path(said[-1] if said else "~/.mitmproxy").expanduser()
    certs.CertStore.from_store(folder, "mitmproxy", 2048)
    return folder / "mitmproxy-ca-cert.pem"


def environment(port: int, certificate: Path) -> dict[str, str]:
    """The variables that send a client through the proxy, so that every known one heeds them.

    Which client heeds which is in config/environment.yaml.
    """
    url = f"http://{HOST}:{port}"
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), url)
    trust = (row.trust[0] for row in environments().clients)
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    return proxies | dict.fromkeys(trust, str(certificate)) | direct


def shell_lines(variables: dict[str, str]) -> str:
    """The variables as lines to copy into a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def run_around(
    command: Sequence[str], port: int, arguments: Sequence[str], variables: dict[str, str]
) -> int:
    """Run a command with the proxy around it; its exit status is ours.

    The terminal is the command's; what the proxy says is shown when it ends, if it is a warning.
    """
    with tempfile.NamedTemporaryFile() as said:
        proxy = subprocess.Popen(
            [str(Path(sys.executable).with_name("mitmdump")), "--flow-detail", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is the command's
        )
        try:
            _wait_until_listening(proxy, port, Path(said.name))
            return _run(command, variables)
        finally:
            proxy.terminate()
            proxy.wait(STOP_SECONDS)
            lines = _lines(Path(said.name))
            ours = (line for line in lines if "callerid: " in line and READY not in line)
            sys.stderr.writelines(ours)


def _run(command: Sequence[str], variables: dict[str, str]) -> int:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what it means
    try:
        status = subprocess.Popen(
            command, env=os.environ | variables, restore_signals=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).wait()  # fmt: skip
    except OSError as error:
        raise CannotStart(f"{command[0]}: {error.strerror}") from None
    finally:
        signal.signal(signal.SIGINT, previous)
    return status if status >= 0 else 128 - status


def _wait_until_listening(proxy: subprocess.Popen[bytes], port: int, said: Path) -> None:
    """Wait until the proxy runs: it listens a moment before a wrong setting ends it."""
    deadline = time.monotonic() + START_SECONDS
    listens_since = None
    while proxy.poll() is None and (now := time.monotonic()) < deadline:
        if listens_since is None and _listens(port):
            listens_since = now
        is_silent = listens_since is not None and now - listens_since > SILENT_SECONDS
        if is_silent or any(READY in line for line in _lines(said)):
            return
        time.sleep(0.05)
    raise CannotStart(f"the proxy did not start:\n{''.join(_lines(said))}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _lines(said: Path) -> list[str]:
    return said.read_text("utf-8", "replace").splitlines(keepends=True)
