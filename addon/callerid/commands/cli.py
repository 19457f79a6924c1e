"""The command `callerid`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console

from callerid import __version__, files
from callerid.archive.sessions import Filter, sessions
from callerid.commands import (
    correct,
    explore,
    export,
    forget,
    go_on,
    identify_command,
    importing,
    launch,
    reading,
    replay,
    show,
    tail,
)
from callerid.commands import sessions as session_commands
from callerid.commands.doctor import doctor
from callerid.commands.tree import draw
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.traces.database import BadDatabase, open_database


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="callerid")
def cli() -> None:
    """Caller ID for LLM traffic: which agent, which session, whose child, and how do we know."""


def _upstream(context: click.Context, option: click.Parameter, url: str | None) -> str:
    """The upstream of reverse mode, "" where there is none."""
    parts = urlsplit(url or "")
    if url is not None and not (parts.scheme in ("http", "https") and parts.hostname):
        raise click.BadParameter(f"expected a URL as https://api.anthropic.com, got {url!r}")
    return url or ""


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Options not named here go on to mitmproxy (--set stream_large_bodies=..., -w FILE).",
)
@click.option("--web", is_flag=True, help="Browse the calls in mitmweb.")
@click.option("--port", type=click.IntRange(1, 65535), default=None, metavar="N",
              help=f"The port to listen on (default: {launch.PORT}; around a command, any that "
                   "is free).")  # fmt: skip
@click.option("--listen-host", default=launch.HOST, metavar="ADDRESS", show_default=True,
              help="The address to listen on; 0.0.0.0 is every interface: whoever reaches this "
                   "machine may then use the proxy.")  # fmt: skip
@click.option("--reverse", default=None, metavar="URL", callback=_upstream,
              help="Stand before one upstream; the base_url is http://localhost:N.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Settings; see config/callerid.yaml.")  # fmt: skip
@reading.db_option
@click.pass_context
def run(
    context: click.Context, web: bool, port: int | None, listen_host: str, reverse: str,
    config: Path | None, db: Path | None,
) -> None:  # fmt: skip
    """Run the proxy; or, after `--`, a command with the proxy around it.

    \b
    callerid run                                       mitmdump on 127.0.0.1:8080
    callerid run --web                                 the same in mitmweb
    callerid run --reverse https://api.anthropic.com --port 3000
    callerid run -- claude -p "hello"                  an agent through the proxy
    """
    command: list[str] = context.obj or []
    port = port or (launch.free_port() if command else launch.PORT)
    named = {"callerid_config": config, "callerid_db": db}
    own = ["--listen-host", listen_host, *context.args]
    arguments = launch.arguments(port, reverse, named, own, is_web=web)
    database = db or files.traces()
    certificate = launch.certificate(context.args)

    def greet(place: launch.Place) -> None:
        variables = launch.environment(place.url, certificate)
        click.echo(_greeting(place, reverse, variables, database))
        sys.stdout.flush()

    try:
        load(str(config or ""))
        if not database.absolute().parent.is_dir():
            raise launch.CannotStart(f"{db}: there is no folder {database.absolute().parent}")
        if command:
            variables = launch.environment(launch.Place(launch.HOST, port).url, certificate)
            _run_around(command, port, arguments, variables, database)
        else:
            launch.serve(arguments, greet, is_web=web)
    except (launch.CannotStart, BadSetting) as error:
        raise click.ClickException(str(error)) from None


def _greeting(place: launch.Place, reverse: str, variables: dict[str, str], database: Path) -> str:
    where = f"callerid: traces go to {database}\n"
    if not place.host:
        where += "callerid: listening on every interface: whoever reaches this machine may use it\n"
    if reverse:
        url = f"http://localhost:{place.port}"
        return where + (
            f'Point the agent\'s base URL at {url} (it leads to {reverse}):\n\n  base_url="{url}"\n'
        )
    lines = launch.shell_lines(variables).replace("\n", "\n  ")
    return f"{where}In the agent's shell:\n\n  {lines}\n"


def _run_around(
    command: list[str], port: int, arguments: list[str], variables: dict[str, str], database: Path
) -> None:
    began = time.time()
    status = launch.run_around(command, port, arguments, variables)
    if database.exists():
        _print_tree(database, began, Console(stderr=True))
    sys.exit(status)


def _print_tree(path: Path, since: float, console: Console) -> None:
    try:
        with closing(open_database(path)) as database:
            found = list(sessions(database, Filter(since=since)))
    except BadDatabase as error:
        raise click.ClickException(str(error)) from None
    if not found:
        console.print(f"callerid: no LLM call was seen ({path})", highlight=False)
        return
    if not console.is_terminal:
        console.width = reading.UNBROKEN
    console.print(draw(found))


cli.add_command(doctor)
cli.add_command(identify_command.identify)
cli.add_command(identify_command.explain)
for command in (
    session_commands.sessions, session_commands.tree, session_commands.stats, show.show,
    show.search, show.diff, tail.tail, correct.link, correct.split, correct.merge,
    correct.rename,
    export.export, importing.import_,
    forget.forget, explore.explore, go_on.continue_, go_on.fork,
    replay.replay,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; what stands behind `--` is somebody else's command."""
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    try:
        cli(words[:at], obj=words[at + 1 :], prog_name="callerid")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
