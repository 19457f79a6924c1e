"""The command `callerid export`: what is on record, in a form that others read."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.progress import track
from sqlite_utils import Database

from callerid.archive import calls, sessions
from callerid.archive.sessions import Filter
from callerid.commands import reading
from callerid.exports.formats import FORMATS
from callerid.traces.pack import NotPacked
from callerid.wire.wirejson import NotJSON


@click.command()
@click.option(
    "--format",
    "name",
    type=click.Choice(list(FORMATS)),
    default="jsonl",
    show_default=True,
    help="; ".join(f"{n}: {f.words}" for n, f in FORMATS.items()),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Where to (default: what is printed).",
)
@click.option("--session", default="", metavar="ID", help="Only this session's calls.")
@click.option("--root", default="", metavar="ID", help="Only the run that this session is of.")
@reading.filter_options
@reading.db_option
def export(
    name: str, output: Path | None, session: str, root: str, db: Path | None, **options: object
) -> None:  # fmt: skip
    """Write what is on record as others read it: calls, conversations, spans.

    \b
    callerid export -o traces/calls.json               for grep and jq
    callerid export --format openai-chat --agent tutor
    callerid export --format csv --since 7d -o week.csv
    """
    console = Console(stderr=True)
    with reading.opened(db) as database, _told(db):
        which = chosen(database, session, root, **options)
        total = calls.count(database, which)
        found = track(
            calls.calls(database, which), total=total, description="exporting", console=console,
            transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        with _opened(output) as file:
            for piece in FORMATS[name].write(database, found):
                file.write(piece)
    if output is not None:
        click.echo(f"{total:,} call{'s' * (total != 1)} to {output}", err=True)


def chosen(database: Database, session: str, root: str, **options: object) -> Filter:
    """The Filter of `filter_options`, `--session` and `--root`; raises NotFound."""
    which = reading.chosen(**options)
    if session:
        which = which._replace(session=sessions.session_id(database, session))
    if root:
        id = sessions.session_id(database, root)
        query = "select root_session_id from sessions where id = ?"
        which = which._replace(root=database.execute(query, [id]).fetchone()[0])
    return which


@contextmanager
def _told(db: Path | None) -> Iterator[None]:
    """Says in a line what is broken in a record, or what cannot be written."""
    try:
        yield
    except (NotJSON, NotPacked, sqlite3.Error) as error:
        raise click.ClickException(f"{db or 'traces.db'}: a record is broken: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """What is written to: a file for its owner alone, as what was said is in it; or what prints."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "wb", opener=_private) as file:
        yield file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
