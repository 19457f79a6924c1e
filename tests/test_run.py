"""`callerid run`: the proxy alone, or around a command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from callerid import files
from callerid.commands import launch
from callerid.commands.cli import cli
from lab import FakeProvider

CALLERID = [sys.executable, "-c", "from callerid.commands.cli import main; main()", "run"]
ASK = """
import os, ssl, httpx
body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
print(httpx.post("https://api.anthropic.com/v1/messages", json=body).json()["content"][0]["text"])
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def run(
    home: Path, provider: FakeProvider, *command: str, config: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`callerid run` around a command; the vendor's host is the fake provider."""
    options = [
        *(("--config", str(config)) if config else ()),
        *("--db", str(home / "traces.db")),
        *("--set", "connection_strategy=lazy"),
        *("--set", f"map_remote=|^https://api.anthropic.com/|{provider.url}/"),
        *("--set", f"ssl_verify_upstream_trusted_ca={provider.ca_file}"),
    ]
    return subprocess.run(
        [*CALLERID, *options, "--", *command],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_command_goes_through_the_proxy_and_its_sessions_are_shown(
    tmp_path: Path, provider: FakeProvider
) -> None:
    result = run(tmp_path, provider, sys.executable, "-c", ASK)

    assert result.stdout.endswith(" to: Hello\n")
    assert result.returncode == 0
    assert "1 session · cost unknown\n" in result.stderr
    assert "new 0.90: an opening not heard before" in result.stderr
    with closing(Database(tmp_path / "traces.db")) as database:
        assert [row["host"] for row in database.query("select host from calls")] == [
            "api.anthropic.com"
        ]


@pytest.mark.parametrize(
    ("program", "status"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 128 + signal.SIGTERM)],
)
def test_the_commands_exit_status_is_ours(
    tmp_path: Path, provider: FakeProvider, program: str, status: int
) -> None:
    assert run(tmp_path, provider, sys.executable, "-c", program).returncode == status


def test_a_command_that_does_not_exist_is_named(tmp_path: Path, provider: FakeProvider) -> None:
    result = run(tmp_path, provider, "no-such-agent")

    assert result.returncode == 1
    assert result.stderr == "Error: no-such-agent: No such file or directory\n"


def test_a_proxy_that_cannot_start_says_why_and_runs_nothing(
    tmp_path: Path, provider: FakeProvider
) -> None:
    (tmp_path / "traces.db").write_text("no database")

    result = run(tmp_path, provider, sys.executable, "-c", "print('ran')")

    assert result.returncode == 1
    assert "cannot be used as traces.db" in result.stderr
    assert result.stdout == ""


def test_a_setting_that_only_the_proxy_can_try_is_named_with_its_file_and_line(
    tmp_path: Path, provider: FakeProvider
) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text("record:\n  content: redacted\n  redact: nowhere.at.all:mask\n")

    result = run(tmp_path, provider, sys.executable, "-c", "pass", config=mine)

    assert result.returncode == 1
    assert f"{mine}: record.redact = 'nowhere.at.all:mask'" in result.stderr
    assert "(line 3)" in result.stderr


def test_the_greeting_has_every_line_that_the_agents_shell_needs(tmp_path: Path) -> None:
    lines = launch.shell_lines(
        launch.environment("http://127.0.0.1:8080", tmp_path / "ca.pem")
    ).splitlines()

    assert lines == [
        "export HTTPS_PROXY=http://127.0.0.1:8080",
        "export https_proxy=http://127.0.0.1:8080",
        f"export NODE_EXTRA_CA_CERTS={tmp_path}/ca.pem",
        f"export CODEX_CA_CERTIFICATE={tmp_path}/ca.pem",
        f"export SSL_CERT_FILE={tmp_path}/ca.pem",
        "export NO_PROXY=127.0.0.1,localhost",
        "export no_proxy=127.0.0.1,localhost",
    ]


def test_the_proxy_listens_on_loopback_only_whatever_else_is_asked() -> None:
    arguments = launch.arguments(3000, "https://api.anthropic.com", {}, ["--set", "flow_detail=2"])

    assert arguments[:6] == [
        "--listen-host", "127.0.0.1", "--listen-port", "3000",
        "--mode", "reverse:https://api.anthropic.com",
    ]  # fmt: skip
    assert arguments[-2:] == ["--set", "flow_detail=2"]
    assert files.SCRIPT.is_file()


@pytest.mark.parametrize("command", ["run", "tree", "identify", "explain"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])

    assert result.exit_code == 0
    assert result.output.startswith("Usage: cli " + command)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["claude", "-p", "hello"], "a command stands after --: -- claude"),
        (["--web", "claude"], "a command stands after --: -- claude"),
        (["--frobnicate"], "neither callerid nor mitmproxy has an option --frobnicate"),
        (["--set", "callerid_confg=x"], "there is no option callerid_confg"),
        (["--reverse", "localhost:9100"], "expected a URL as https://api.anthropic.com"),
        (["--reverse", ""], "expected a URL as https://api.anthropic.com"),
        (["--mode", "nonsense"], "--mode: "),
        (["--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["--db", "nowhere/traces.db"], "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_begun(
    tmp_path: Path, options: list[str], complaint: str
) -> None:
    result = subprocess.run(
        [*CALLERID, "--port", str(launch.free_port()), *options],
        env=os.environ | {"HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert result.returncode != 0
    assert complaint in result.stderr.splitlines()[-1]
    assert result.stdout == ""


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            [*CALLERID, "--port", str(port)],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    assert result.stderr == (
        f"Error: 127.0.0.1:{port}: Address already in use; another one: --port N\n"
    )
    assert result.stdout == ""


def test_what_would_keep_a_command_from_trusting_the_proxy_is_set_aside(
    tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    tell = "import os; print(os.environ.get('SSL_CERT_DIR'), os.environ['REQUESTS_CA_BUNDLE'])"

    result = run(tmp_path, provider, sys.executable, "-c", tell)

    assert result.stdout == f"None {tmp_path}/.mitmproxy/mitmproxy-ca-cert.pem\n"


def test_a_command_that_does_not_trust_the_proxy_is_told_of(
    tmp_path: Path, provider: FakeProvider
) -> None:
    distrust = (
        "import httpx, os, ssl\n"
        "try: httpx.get('https://api.anthropic.com', verify=ssl.create_default_context())\n"
        "except httpx.ConnectError: print('distrusts')"
    )
    trusting_nobody = f"import os; os.environ['SSL_CERT_FILE'] = '{provider.ca_file}'\n"

    result = run(tmp_path, provider, sys.executable, "-c", trusting_nobody + distrust)

    assert result.stdout == "distrusts\n"
    assert "a client does not trust the proxy's certificate" in result.stderr
    assert "no LLM call was seen" in result.stderr
