"""The command `callerid`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console

from callerid import __version__, files
from callerid.commands import identify_command, launch
from callerid.commands.doctor import doctor
from callerid.commands.tree import branches, draw
from callerid.traces.database import BadDatabase, open_database

UNBROKEN = 10_000  # columns: where nobody looks at a window, one line stays one line


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="callerid")
def cli() -> None:
    """Caller ID for LLM traffic: which agent, which session, whose child, and how do we know."""


_DATABASE = click.option(
    "--db", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help=f"The traces (default: {files.traces()}).",
)  # fmt: skip


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Options not named here go on to mitmproxy (--set stream_large_bodies=..., -w FILE).",
)
@click.option("--web", is_flag=True, help="Browse the calls in mitmweb.")
@click.option("--port", type=click.IntRange(1, 65535), default=None, metavar="N",
              help=f"The port to listen on, at {launch.HOST} only (default: {launch.PORT}; "
                   "around a command, any that is free).")  # fmt: skip
@click.option("--reverse", default="", metavar="URL",
              help="Stand before one upstream; the base_url is http://localhost:N.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Settings; see config/callerid.yaml.")  # fmt: skip
@_DATABASE
@click.pass_context
def run(
    context: click.Context, web: bool, port: int | None, reverse: str, config: Path | None,
    db: Path | None,
) -> None:  # fmt: skip
    r"""Run the proxy; or, after `--`, a command with the proxy around it.

    \b
    callerid run                                       mitmdump on 127.0.0.1:8080
    callerid run --web                                 the same in mitmweb
    callerid run --reverse https://api.anthropic.com --port 3000
    callerid run -- claude -p "hello"                  an agent through the proxy
    """
    command: list[str] = context.obj or []
    options = list(context.args)
    for name, path in (("callerid_config", config), ("callerid_db", db)):
        options += ["--set", f"{name}={path.absolute()}"] if path else []
    certificate = launch.certificate(options)
    port = port or (launch.free_port() if command else launch.PORT)
    arguments = launch.arguments(port, reverse, options)
    variables = launch.environment(port, certificate)
    if command:
        _run_around(command, port, arguments, variables, db or files.traces())
        return
    click.echo(_greeting(port, reverse, variables, db or files.traces()))
    sys.stdout.flush()
    from mitmproxy.tools import main as mitmproxy

    (mitmproxy.mitmweb if web else mitmproxy.mitmdump)(arguments)


def _greeting(port: int, reverse: str, variables: dict[str, str], database: Path) -> str:
    where = f"callerid: traces go to {database}\n"
    if reverse:
        return where + (
            f"Point the agent's base URL at http://localhost:{port} (it leads to {reverse}):\n\n"
            f'  base_url="http://localhost:{port}"\n'
        )
    lines = launch.shell_lines(variables).replace("\n", "\n  ")
    return f"{where}In the agent's shell:\n\n  {lines}\n"


def _run_around(
    command: list[str], port: int, arguments: list[str], variables: dict[str, str], database: Path
) -> None:
    began = time.time()
    try:
        status = launch.run_around(command, port, arguments, variables)
    except launch.CannotStart as error:
        raise click.ClickException(str(error)) from None
    if database.exists():
        _print_tree(database, began, Console(stderr=True))
    sys.exit(status)


@cli.command()
@_DATABASE
def tree(db: Path | None) -> None:
    """Print all sessions on record as a tree, with the evidence for each."""
    path = db or files.traces()
    if not path.exists():
        raise click.ClickException(f"{path}: there is no such file; record some calls first")
    _print_tree(path, 0.0, Console())


def _print_tree(path: Path, since: float, console: Console) -> None:
    try:
        with closing(open_database(path)) as database:
            sessions = branches(database, since)
    except BadDatabase as error:
        raise click.ClickException(str(error)) from None
    if not sessions:
        console.print(f"callerid: no LLM call was seen ({path})", highlight=False)
        return
    if not console.is_terminal:
        console.width = UNBROKEN
    console.print(draw(sessions))


cli.add_command(doctor)
cli.add_command(identify_command.identify)
cli.add_command(identify_command.explain)


def main() -> None:
    """Run the command line; what stands behind `--` is somebody else's command."""
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    try:
        cli(words[:at], obj=words[at + 1 :], prog_name="callerid")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
