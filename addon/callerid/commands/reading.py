"""What the commands that read a traces.db have in common: the file, JSON or a table, mistakes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlite_utils import Database

from callerid import figures, files
from callerid.archive.sessions import STATUSES, BadTime, Filter, NotFound, moment
from callerid.traces.database import BadDatabase, open_database

UNBROKEN = 10_000  # columns: where nobody looks at a window, one line stays one line

# All control characters but tabs and ends of lines; those below 32 have pictures in Unicode.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SIGNS = {chr(code): chr(0x2400 + code) for code in range(32)} | {"\x7f": "␡"}

Command = TypeVar("Command", bound=Callable[..., object])

db_option = click.option(
    "--db", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help=f"The traces (default: {files.traces()}).",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


class Since(click.ParamType):  # type: ignore[type-arg]
    """A time, as how long ago or as a date."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds since the epoch."""
        try:
            return value if isinstance(value, float) else moment(str(value), time.time())
        except BadTime as error:
            self.fail(str(error), param, ctx)


since_option = click.option(
    "--since", type=Since(), default=None, metavar="TIME",
    help="Only what was heard of since: 30m, 2h, 7d, or a date.",
)  # fmt: skip


def who_options(command: Command) -> Command:
    """The options that say whose sessions are meant, and when they were heard of."""
    for option in (
        click.option("--agent", default="", metavar="NAME", help="A part of the agent's name."),
        click.option("--client", default="", metavar="NAME", help="A part of the client's name."),
        since_option,
    ):
        command = option(command)
    return command


def filter_options(command: Command) -> Command:
    """The options that make a Filter: see `chosen`."""
    for option in (
        click.option("--model", default="", metavar="NAME", help="A part of the model's name."),
        click.option("--status", type=click.Choice(STATUSES), default=None,
                     help="How the sessions stand."),
        click.option("--cost", type=float, default=None, metavar="USD",
                     help="Only what cost so much or more."),
    ):  # fmt: skip
        command = option(command)
    return who_options(command)


def chosen(**options: object) -> Filter:
    """The Filter of `filter_options`."""
    return Filter(
        agent=str(options["agent"]),
        client=str(options["client"]),
        model=str(options["model"]),
        status=str(options["status"] or ""),
        since=options["since"],  # type: ignore[arg-type]
        usd=options["cost"],  # type: ignore[arg-type]
    )


@contextmanager
def opened(db: Path | None) -> Iterator[Database]:
    """The traces that are meant; what goes wrong with them is said in a line."""
    path = db or files.traces()
    if not path.exists():
        raise click.ClickException(f"{path}: there is no such file; record some calls first")
    try:
        database = open_database(path)
    except BadDatabase as error:
        raise click.ClickException(str(error)) from None
    try:
        yield database
    except NotFound as error:
        raise click.ClickException(f"{path}: {error}") from None
    finally:
        database.conn.close()


def print_json(value: object, *, indent: int = 2) -> None:
    """A value as JSON, to be read by people and by jq; a list of structs is a list of objects.

    An `indent` below 0 is one line.
    """
    written = msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()
    # Of control characters, JSON lets these pass.
    click.echo(re.sub("[\x7f-\x9f]", lambda sign: f"\\u{ord(sign[0]):04x}", written))


def console() -> Console:
    """Where tables go; where nobody looks at a window, lines are not broken."""
    made = Console(highlight=False, markup=False)
    if not made.is_terminal:
        made.width = UNBROKEN
    return made


def table(*columns: str) -> Table:
    """A plain table; a column that begins with > stands to the right."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    return made


def shown(text: str) -> str:
    """A text that strangers wrote, with what would command a terminal as signs that are seen."""
    return _CONTROL.sub(lambda found: _SIGNS.get(found[0], "�"), text)


def cell(text: str) -> Text:
    """A cell of a table: what stands in it is no markup, and commands nothing."""
    return Text(shown(text))


def ago(at: float, now: float) -> str:
    """How long ago, as people say it."""
    return f"{figures.duration(max(0.0, now - at))} ago"


def tokens(given: int | None, taken: int | None) -> str:
    """Tokens in and out."""
    if given is None and taken is None:
        return "unknown"
    return f"{given or 0:,} → {taken or 0:,}"
