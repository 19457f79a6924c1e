"""Starts mitmproxy with the addon, alone or around an agent's command."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from callerid import files
from callerid.settings.load import environments

HOST = "127.0.0.1"  # mitmproxy's own default is every interface
PORT = 8080
START_SECONDS = 20.0
READY = "callerid: identifying"  # what the addon says once it runs
SILENT_SECONDS = 2.0  # a proxy that listens for so long and says nothing was told to be quiet
STOP_SECONDS = 15.0
_SERVE = (
    "import sys; from callerid.commands.launch import serve_quietly; serve_quietly(sys.argv[1:])"
)
_STRAY = "unrecognized arguments: "
OPTIONS = ("callerid_config", "callerid_db")
# mitmweb's own, and the comment
WEB_COLUMNS = ("tls", "icon", "path", "comment", "method", "status", "size", "time")
_BUNDLES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")  # go before SSL_CERT_FILE where they are set


class CannotStart(RuntimeError):
    """The proxy did not start; the message says what it said."""


def arguments(
    port: int, reverse: str, files_named: Mapping[str, Path | None], options: Sequence[str],
    *, is_web: bool = False,
) -> list[str]:  # fmt: skip
    """What mitmdump or mitmweb is given; `options` are the user's own and come last.

    `files_named` are files by the option of ours that takes them.
    """
    # Lazy: the pages for operators answer, though the upstream is away.
    mode = ["--mode", f"reverse:{reverse}", "--set", "connection_strategy=lazy"] if reverse else []
    ours = [f"{name}={path.absolute()}" for name, path in files_named.items() if path]
    return [
        "--listen-host", HOST, "--listen-port", str(port), *mode,
        *(word for pair in ours for word in ("--set", pair)),
        *(word for name in WEB_COLUMNS if is_web for word in ("--set", f"web_columns={name}")),
        "--scripts", str(files.SCRIPT), *options,
    ]  # fmt: skip


class Place(NamedTuple):
    """Where a proxy listens; "" is every interface."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """How a client on this machine calls it."""
        return f"http://{self.host or HOST}:{self.port}"


def serve(arguments: Sequence[str], greet: Callable[[Place], None], *, is_web: bool) -> None:
    """Run mitmdump or mitmweb here; raises CannotStart where it would not do what was asked.

    `greet` is told where it will listen.
    """
    from mitmproxy.options import Options
    from mitmproxy.tools import cmdline, dump, main
    from mitmproxy.tools.web.master import WebMaster

    def make_parser(options: Options) -> argparse.ArgumentParser:
        make = cmdline.mitmweb if is_web else cmdline.mitmdump
        parser: argparse.ArgumentParser = make(options)  # type: ignore[no-untyped-call]
        parse = parser.parse_args

        def parse_checked(words: Sequence[str]) -> argparse.Namespace:
            said = parse(words)
            greet(_checked(said))
            return said

        parser.error = _refuse  # type: ignore[method-assign,assignment]
        parser.parse_args = parse_checked  # type: ignore[method-assign,assignment]
        return parser

    main.run(WebMaster if is_web else dump.DumpMaster, make_parser, arguments)


def serve_quietly(arguments: Sequence[str]) -> None:
    """Run mitmdump in a process of its own, which says in one line why it cannot."""
    try:
        serve(arguments, lambda place: None, is_web=False)
    except CannotStart as error:
        sys.exit(str(error))


def _checked(said: argparse.Namespace) -> Place:
    """Where mitmproxy will listen; raises CannotStart.

    It would take a stray word, and everything after it, for a filter, and tell of a port that is
    taken only when everybody has been told of it.
    """
    from mitmproxy.proxy import mode_specs

    if stray := getattr(said, "filter_args", ()):
        _refuse(_STRAY + " ".join(stray))
    for pair in said.setoptions:
        name = pair.partition("=")[0]
        if name.startswith("callerid_") and name not in OPTIONS:
            raise CannotStart(f"there is no option {name}; there are {' and '.join(OPTIONS)}")
    try:
        mode = mode_specs.ProxyMode.parse((said.mode or ["regular"])[-1])
    except ValueError as error:
        raise CannotStart(f"--mode: {error}") from None
    host, port = mode.listen_host(said.listen_host), mode.listen_port(said.listen_port)
    place = Place("" if host in (None, "", "0.0.0.0", "::") else str(host), port or PORT)
    _check_free(place)
    return place


def _refuse(complaint: str) -> NoReturn:
    words = complaint.removeprefix(_STRAY)
    if words.startswith("-") and words != complaint:
        complaint = f"neither callerid nor mitmproxy has an option {words}"
    elif words != complaint:
        complaint = f"{words!r} is no option; a command stands after --: -- {words}"
    raise CannotStart(f"{complaint} (see --help)")


def _check_free(place: Place) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.host, place.port))
        except OSError as error:
            where = f"{place.host or 'port'} {place.port}".replace(f"{HOST} ", f"{HOST}:")
            raise CannotStart(f"{where}: {error.strerror}; another one: --port N") from None


def certificate(options: Sequence[str]) -> Path:
    """The certificate that clients must trust; it is made now if mitmproxy has not yet made it."""
    from mitmproxy import certs

    said = [option[8:] for option in options if option.startswith("confdir=")]
    folder = Path(said[-1] if said else "~/.mitmproxy").expanduser()
    certs.CertStore.from_store(folder, "mitmproxy", 2048)
    return folder / "mitmproxy-ca-cert.pem"


def environment(url: str, certificate: Path) -> dict[str, str]:
    """The variables that send a client through the proxy, so that every known one heeds them.

    Which client heeds which is in config/environment.yaml.
    """
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
    """Run a command with the proxy around it; its exit status is ours."""
    with beside(port, arguments):
        return _run(command, variables)


@contextmanager
def beside(port: int, arguments: Sequence[str]) -> Iterator[None]:
    """A proxy in a process of its own, for as long as something lasts; raises CannotStart.

    The terminal is not its own; what it says is shown when it ends, if it is a warning.
    """
    with tempfile.NamedTemporaryFile() as said:
        proxy = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *arguments, "--flow-detail", "0"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is the command's
        )
        try:
            _wait_until_listening(proxy, port, Path(said.name))
            yield
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
            command, env=_inherited(variables) | variables, restore_signals=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).wait()  # fmt: skip
    except OSError as error:
        raise CannotStart(f"{command[0]}: {error.strerror}") from None
    finally:
        signal.signal(signal.SIGINT, previous)
    return status if status >= 0 else 128 - status


def _inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, without what would keep a client from trusting the proxy."""
    trusted = variables["SSL_CERT_FILE"]
    left = {name: value for name, value in os.environ.items() if name != "SSL_CERT_DIR"}
    return left | {name: trusted for name in _BUNDLES if name in left}


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
