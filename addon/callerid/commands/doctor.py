"""What a client needs to go through the proxy and be recorded, looked at one thing at a time."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit

import click
from rich.console import Console

from callerid import files
from callerid.commands import launch
from callerid.settings.load import environments
from callerid.settings.tables import EnvironmentRow
from callerid.traces.database import BadDatabase, open_database

CONNECT_SECONDS = 2.0
ONBOARDING = "http://mitm.it/"  # mitmproxy answers this itself, to whoever comes through it


class Finding(NamedTuple):
    """One thing that was looked at: whether it is as it should be, and what was seen."""

    is_good: bool
    what: str
    seen: str


@click.command()
@click.argument("client", required=False, metavar="[CLIENT]")
@click.option("--port", type=click.IntRange(1, 65535), default=None, metavar="N",
              help="The proxy's port (default: the one on this machine that this shell's variables "
                   f"name, or {launch.PORT}).")  # fmt: skip
@click.option("--db", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help=f"The traces (default: {files.traces()}).")  # fmt: skip
def doctor(client: str | None, port: int | None, db: Path | None) -> None:
    """Look at certificate, proxy, traces and this shell's variables; say what is missing for whom.

    CLIENT is the client that is meant (claude, codex ...); without it all are looked at. The exit
    status is 1 where something is missing for it, or, without it, for every client.
    """
    certificate = launch.certificate([])
    rows = [row for row in environments().clients if client is None or _is_meant(row, client)]
    if not rows:
        known = ", ".join(row.command or row.name for row in environments().clients)
        raise click.BadParameter(f"expected one of {known}; got {client!r}")
    port = port or named_port(rows, os.environ) or launch.PORT
    general = [version(), trusted(certificate), proxy(port), traces(db or files.traces())]
    clients = [look_at(row, os.environ, port, certificate) for row in rows]
    console = Console(highlight=False, soft_wrap=True)
    for finding in (*general, *clients):
        mark = "[green]✓[/]" if finding.is_good else "[red]✗[/]"
        console.print(f"{mark} [bold]{finding.what}[/]: ", end="")
        console.print(finding.seen, markup=False)
    is_well = all(finding.is_good for finding in general)
    sys.exit(0 if is_well and any(finding.is_good for finding in clients) else 1)


def _is_meant(row: EnvironmentRow, client: str) -> bool:
    return client.casefold() in (row.name.casefold(), row.command.casefold())


def version() -> Finding:
    """The Python and mitmproxy that we run on."""
    from mitmproxy.version import VERSION

    python = ".".join(map(str, sys.version_info[:3]))
    return Finding(sys.version_info >= (3, 11), "versions", f"Python {python}, mitmproxy {VERSION}")


def trusted(certificate: Path) -> Finding:
    """The certificate authority of the proxy."""
    from cryptography import x509

    authority = x509.load_pem_x509_certificate(certificate.read_bytes())
    ends = authority.not_valid_after_utc
    words = f"{certificate}, valid until {ends:%Y-%m-%d}"
    return Finding(ends > datetime.now(UTC), "certificate", words)


def proxy(port: int) -> Finding:
    """Whether a mitmproxy answers at the port."""
    where = f"{launch.HOST}:{port}"
    with socket.socket() as probe:
        probe.settimeout(CONNECT_SECONDS)
        if probe.connect_ex((launch.HOST, port)) != 0:
            return Finding(False, "proxy", f"nothing listens on {where}; start it: callerid run")
    through = urllib.request.ProxyHandler({"http": f"http://{where}"})
    try:
        with urllib.request.build_opener(through).open(ONBOARDING, timeout=CONNECT_SECONDS) as page:
            is_ours = b"mitmproxy" in page.read(100_000)
    except (URLError, OSError):
        is_ours = False
    if not is_ours:
        return Finding(False, "proxy", f"what listens on {where} is no mitmproxy: --port N")
    return Finding(True, "proxy", f"a mitmproxy listens on {where}")


def traces(path: Path) -> Finding:
    """Whether the traces can be read and written, and what is in them."""
    if not path.exists():
        return Finding(True, "traces", f"{path} will be made at the first call")
    try:
        with closing(open_database(path)) as database:
            (check,) = database.query("pragma quick_check(1)")
            (row,) = database.query(
                "select count(*) as calls, datetime(max(started_at), 'unixepoch') as newest"
                " from calls"
            )
    except (BadDatabase, sqlite3.Error) as error:
        return Finding(False, "traces", str(error))
    newest = f", the newest of {row['newest']} UTC" if row["newest"] else ""
    is_whole = next(iter(check.values())) == "ok"
    words = f"{path}: {row['calls']} calls{newest}" if is_whole else f"{path} is damaged"
    return Finding(is_whole, "traces", words)


def look_at(
    row: EnvironmentRow, environ: Mapping[str, str], port: int, certificate: Path
) -> Finding:
    """Whether a client that is started from this shell comes through the proxy and trusts it."""
    said = {name: environ[name] for name in row.proxy if environ.get(name)}
    leads_to_us = [name for name, url in said.items() if _leads_to(url, port)]
    trusts = [name for name in row.trust if _holds(environ.get(name, ""), certificate)]
    if leads_to_us and trusts:
        return Finding(True, row.name, f"{leads_to_us[0]} and {trusts[0]} are set")
    missing = [] if leads_to_us else [f"{row.proxy[0]}=http://{launch.HOST}:{port}"]
    missing += [] if trusts else [f"{row.trust[0]}={certificate}"]
    elsewhere = f" ({next(iter(said))} leads elsewhere)" if said and not leads_to_us else ""
    around = f"; or: callerid run -- {row.command}" if row.command else ""
    return Finding(False, row.name, f"missing {' and '.join(missing)}{elsewhere}{around}")


def named_port(rows: Iterable[EnvironmentRow], environ: Mapping[str, str]) -> int | None:
    """The port of this machine that the clients' variables lead to; None where none does."""
    said = (environ[name] for row in rows for name in row.proxy if environ.get(name))
    return next((port for port in map(_port_here, said) if port), None)


def _leads_to(url: str, port: int) -> bool:
    return _port_here(url) == port


def _port_here(url: str) -> int | None:
    """The port of this machine that a URL leads to; None where it leads elsewhere."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        return parts.port if parts.hostname in (launch.HOST, "localhost") else None
    except ValueError:
        return None


def _holds(path: str, certificate: Path) -> bool:
    """Whether a file of certificates has ours among them."""
    try:
        return bool(path) and certificate.read_text().strip() in Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return False
