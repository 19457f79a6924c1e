"""What `continue`, `fork` and `replay` have in common: key, proxy, price, and the curl command."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.error import URLError

import click
from msgspec.structs import replace

from callerid import figures, files
from callerid.again import keys
from callerid.again.endpoints import CannotCall, at_host
from callerid.again.estimate import Estimate
from callerid.again.keys import Credential
from callerid.again.rebuild import CannotGoOn, Prepared
from callerid.again.sending import CannotSend
from callerid.archive.calls import CallFacts
from callerid.commands import doctor, launch, reading
from callerid.explorer.curl import curl
from callerid.prices import Prices
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration, load
from callerid.traces.pack import NotPacked
from callerid.wire.wirejson import NotJSON

LONGEST = 100_000  # characters of a word on a command line that every system takes
LOOK_SECONDS = 2.0
# The proxy that is started for a command is its user's alone, whatever key the agent had.
_OWN_SETTINGS = "session: {trust_ids_across_credentials: true}\nadmin: {enabled: false}\n"

Command = TypeVar("Command", bound=Callable[..., object])


class Asking(NamedTuple):
    """What was said on the command line, and the settings."""

    configuration: Configuration
    config: Path | None
    db: Path
    proxy: str
    key_from: str
    yes: bool
    dry_run: bool
    body: Path | None
    options: tuple[str, ...]

    @property
    def prices(self) -> Prices:
        """The prices, to be asked."""
        return Prices(self.configuration.prices)

    def provider(self, prepared: Prepared) -> str:
        """Who is called; "" is nobody known."""
        row = at_host(self.configuration.providers, prepared.facts.host)
        return row.name if row else ""

    def credential(self, prepared: Prepared) -> Credential:
        """The key of a call; raises CannotCall."""
        return keys.credential(
            self.configuration.providers, prepared.facts, os.environ, self.key_from
        )


def options(command: Command) -> Command:
    """The options that make an Asking: see `asking`."""
    for option in (
        reading.db_option,
        click.option("--config", type=click.Path(path_type=Path), default=None, metavar="FILE",
                     help="Settings; see config/callerid.yaml."),
        click.option("--set", "options", multiple=True, metavar="NAME=VALUE",
                     help="An option of mitmproxy's, for the proxy that is started for this."),
        click.option("--proxy", default="", metavar="URL",
                     help="The proxy to go through (default: the setting's, HTTPS_PROXY, the one "
                          "that runs here, or one for as long as this takes)."),
        click.option("--key-from", default="", metavar="NAME",
                     help="The environment variable that holds the key."),
        click.option("--body", type=click.Path(path_type=Path, dir_okay=False), default=None,
                     metavar="FILE", help="With --dry-run: write the request's body there."),
        click.option("--dry-run", is_flag=True,
                     help="Print the request as a curl command without the key; send nothing."),
        click.option("--yes", is_flag=True, help="Do not ask before it costs money."),
    ):  # fmt: skip
        command = option(command)
    return command


def asking(
    db: Path | None, config: Path | None, options: tuple[str, ...], proxy: str, key_from: str,
    body: Path | None, dry_run: bool, yes: bool,
) -> Asking:  # fmt: skip
    """What was said; raises BadSetting."""
    configuration = load(str(config or ""))
    return Asking(
        configuration, config, db or files.traces(), proxy, key_from, yes, dry_run, body, options
    )


@contextmanager
def told() -> Iterator[None]:
    """Says in a line why something cannot be done."""
    try:
        yield
    except (
        BadSetting, CannotCall, CannotGoOn, CannotSend, launch.CannotStart, NotJSON,
        NotPacked,
    ) as error:  # fmt: skip
        raise click.ClickException(str(error)) from None


def print_curl(asking: Asking, prepared: Prepared, declared: dict[str, str]) -> None:
    """Print the request as a curl command; the shell fills in the key."""
    name = keys.header_for(asking.configuration.providers, prepared.facts, asking.key_from)
    headers = [*prepared.headers, *declared.items(), *Credential(name).masked]
    print_request(asking, prepared.facts, headers, prepared.body)


def print_request(
    asking: Asking, facts: CallFacts, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Print a request to where a call went, with these headers, in which the key is masked."""
    facts = replace(facts, request_headers=json.dumps(headers))
    file = asking.body or Path("request.json")
    if asking.body is not None:
        asking.body.write_bytes(body)
    elif len(body) > LONGEST:
        click.echo("the body is too long for a command line: --body FILE writes it", err=True)
    most = 0 if asking.body else LONGEST
    click.echo(reading.shown(curl(facts, body, str(file), most)))


def in_words(estimate: Estimate) -> str:
    """Tokens and dollars, as far as they are known."""
    if estimate.input_tokens is None and estimate.output_tokens is None:
        counted = "tokens unknown"
    else:
        given, taken = estimate.input_tokens, estimate.output_tokens
        one = "unknown" if given is None else f"{given:,}"
        other = "unknown" if taken is None else f"{taken:,}"
        counted = f"{one} → {other} tokens"
    return f"{counted} · {figures.dollars(estimate.usd) or 'cost unknown'}"


def agree(asking: Asking, what: str, expected: Estimate) -> None:
    """Say what will be sent and what it will cost, and ask whether it may; aborts otherwise."""
    click.echo(f"{what}: about {in_words(expected)} (list price, nothing cached)", err=True)
    if not asking.yes:
        click.confirm("Send?", abort=True, err=True)


@contextmanager
def way(asking: Asking) -> Iterator[tuple[str, Path]]:
    """The proxy to go through, started if there is none, with its certificate; raises CannotStart.

    What HTTPS_PROXY names may be no callerid; then nothing is on record, which is said at the end.
    """
    certificate = launch.certificate(asking.options)
    named = asking.proxy or asking.configuration.settings.client.proxy
    named = named or os.environ.get("HTTPS_PROXY", "") or os.environ.get("https_proxy", "")
    if named or (named := _running(asking)):
        yield named, certificate
        return
    with ExitStack() as stack:
        config = asking.config
        if config is None:
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
            file.write(_OWN_SETTINGS)
            file.flush()
            config = Path(file.name)
        port = launch.free_port()
        named_files = {"callerid_config": config, "callerid_db": asking.db}
        words = [word for option in asking.options for word in ("--set", option)]
        arguments = launch.arguments(port, "", named_files, words)
        stack.enter_context(launch.beside(port, arguments))
        yield launch.Place(launch.HOST, port).url, certificate


def _running(asking: Asking) -> str:
    """The callerid that runs here, if it writes the traces that are meant; "" if none does."""
    admin = asking.configuration.settings.admin
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{admin.host}:{admin.port}/health", timeout=LOOK_SECONDS) as page:
            traces = json.load(page).get("traces", "")
    except (URLError, OSError, ValueError, AttributeError):
        return ""
    is_same = Path(str(traces)).absolute() == asking.db.absolute()
    place = launch.Place(launch.HOST, launch.PORT)
    return place.url if is_same and doctor.proxy(launch.PORT).is_good else ""
