"""`callerid doctor` says what is missing, and for whom."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callerid.commands import doctor
from callerid.commands.cli import cli
from callerid.settings.load import environments
from callerid.settings.tables import EnvironmentRow
from callerid.traces.database import open_database
from lab import Proxy

ROW = EnvironmentRow("Agent", "seen", ("HTTPS_PROXY", "ALL_PROXY"), ("MY_CA",), "agent")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n")
    return path


def run(*arguments: object, home: Path, env: dict[str, str] | None = None) -> Result:
    words = ["doctor", *map(str, arguments)]
    return CliRunner().invoke(cli, words, env={"HOME": str(home)} | (env or {}))


def test_a_client_that_has_all_is_ready(certificate: Path) -> None:
    environ = {"ALL_PROXY": "http://localhost:9000", "MY_CA": str(certificate)}

    found = doctor.look_at(ROW, environ, 9000, certificate)

    assert found.is_good
    assert found.seen == "ALL_PROXY and MY_CA are set"


def test_a_list_of_certificates_may_hold_ours_among_others(certificate: Path) -> None:
    bundle = certificate.with_name("bundle.pem")
    bundle.write_text("others\n" + certificate.read_text() + "others\n")
    environ = {"HTTPS_PROXY": "127.0.0.1:9000", "MY_CA": str(bundle)}

    assert doctor.look_at(ROW, environ, 9000, certificate).is_good


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "missing HTTPS_PROXY=http://127.0.0.1:9000 and MY_CA={ca}; or: callerid run -- agent"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9000"}, "missing MY_CA={ca}; or"),
        (
            {"HTTPS_PROXY": "http://proxy.corp:3128", "MY_CA": "{ca}"},
            "missing HTTPS_PROXY=http://127.0.0.1:9000 (HTTPS_PROXY leads elsewhere); or",
        ),
        ({"HTTPS_PROXY": "http://127.0.0.1:9000", "MY_CA": "/none"}, "missing MY_CA={ca}; or"),
    ],
)
def test_what_a_client_lacks_is_named(
    certificate: Path, environ: dict[str, str], missing: str
) -> None:
    said = {name: value.format(ca=certificate) for name, value in environ.items()}

    found = doctor.look_at(ROW, said, 9000, certificate)

    assert not found.is_good
    assert found.seen.startswith(missing.format(ca=certificate))


def test_a_proxy_is_known_when_it_answers(tmp_path: Path) -> None:
    with Proxy() as proxy:
        assert doctor.proxy(proxy.port).is_good


def test_what_is_no_proxy_is_said_to_be_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = doctor.proxy(port)
    nobody = doctor.proxy(port)

    assert (found.is_good, nobody.is_good) == (False, False)
    assert "no mitmproxy" in found.seen
    assert f"nothing listens on 127.0.0.1:{port}" in nobody.seen


def test_traces_are_opened_and_counted(tmp_path: Path) -> None:
    open_database(tmp_path / "traces.db").conn.close()
    (tmp_path / "letter").write_text("Dear aunt")

    assert doctor.traces(tmp_path / "traces.db").seen.endswith("traces.db: 0 calls")
    assert doctor.traces(tmp_path / "none.db").is_good
    assert not doctor.traces(tmp_path / "letter").is_good


def test_the_command_says_all_of_it_and_fails_where_something_is_missing(tmp_path: Path) -> None:
    result = run("--db", tmp_path / "none.db", home=tmp_path, env={"HTTPS_PROXY": ""})

    assert result.exit_code == 1
    assert "✓ certificate: " in result.output
    for row in environments().clients:
        assert f"✗ {row.name}: missing " in result.output


def test_one_client_can_be_asked_about(tmp_path: Path) -> None:
    with Proxy(options={"callerid_db": str(tmp_path / "traces.db")}) as proxy:
        certificate = tmp_path / ".mitmproxy" / "mitmproxy-ca-cert.pem"
        ready = {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "NODE_EXTRA_CA_CERTS": str(certificate),
            "SSL_CERT_FILE": "",
            "CODEX_CA_CERTIFICATE": "",
        }
        asked = ("--port", proxy.port, "--db", tmp_path / "none.db")
        claude = run("claude", *asked, home=tmp_path, env=ready)
        codex = run("Codex", *asked, home=tmp_path, env=ready)
        anyone = run(*asked, home=tmp_path, env=ready)

    assert (claude.exit_code, codex.exit_code, anyone.exit_code) == (0, 1, 0)
    assert "Codex" not in claude.output


def test_a_client_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    result = run("nobody", home=tmp_path)

    assert result.exit_code == 2
    assert "expected one of claude, codex" in result.output


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"HTTPS_PROXY": "http://127.0.0.1:9123"}, 9123),
        ({"ALL_PROXY": "localhost:9123"}, 9123),
        ({"HTTPS_PROXY": "http://proxy.corp:3128", "ALL_PROXY": "http://localhost:9123"}, 9123),
        ({"HTTPS_PROXY": "http://proxy.corp:3128"}, None),
        ({"HTTPS_PROXY": "http://localhost:port"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_port_that_the_shell_names_is_looked_at(
    environ: dict[str, str], port: int | None
) -> None:
    assert doctor.named_port([ROW], environ) == port


def test_a_proxy_at_another_port_is_found_by_the_variables(tmp_path: Path) -> None:
    with Proxy() as proxy:
        shell = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
        found = run("--db", tmp_path / "none.db", home=tmp_path, env=shell)

    assert f"✓ proxy: a mitmproxy listens on 127.0.0.1:{proxy.port}" in found.output
