"""The command `callerid export`: what is on record, in a form that others read."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import track
from sqlite_utils import Database

from callerid.archive import calls, sessions
from callerid.archive.sessions import Filter
from callerid.commands import reading
from callerid.exports import files, otlp
from callerid.exports.formats import FORMATS
from callerid.exports.otlp import CannotExport
from callerid.exports.spans import Span, Style, newest_names
from callerid.figures import plural
from callerid.traces.pack import NotPacked
from callerid.wire.wirejson import NotJSON

SECONDS = 30.0  # that a collector may take for a batch


def _url(context: click.Context, option: click.Parameter, value: str) -> str:
    parts = urlsplit(value)
    if value and not (parts.scheme in ("http", "https") and parts.hostname):
        raise click.BadParameter(f"expected a URL as http://localhost:4318, got {value!r}")
    return value


def _pairs(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"expected NAME=VALUE, got {value!r}")
    pairs = (value.partition("=") for value in values)
    return {name.strip(): text.strip() for name, _, text in pairs}


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
@click.option(
    "--endpoint",
    default="",
    metavar="URL",
    callback=_url,
    help="Send spans to this collector instead, by OTLP over HTTP.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
    help="A header for the collector; may be said several times.",
)
@click.option("--content", is_flag=True, help="Tell in spans what was said, too.")
@reading.filter_options
@reading.db_option
def export(
    name: str, output: Path | None, session: str, root: str, endpoint: str,
    headers: dict[str, str], content: bool, db: Path | None, **options: object,
) -> None:  # fmt: skip
    """Write what is on record as others read it: calls, conversations, spans.

    \b
    callerid export -o traces/calls.json               for grep and jq
    callerid export --format openai-chat --agent tutor
    callerid export --format csv --since 7d -o week.csv
    callerid export --format otlp --endpoint http://localhost:4318
    """
    form, pieces = FORMATS[name], 0
    if endpoint and not form.conventions:
        raise click.UsageError(f"--endpoint is for spans (otlp, openinference), not for {name}")
    style = Style(form.conventions, newest_names(os.environ), content)
    console = Console(stderr=True)
    with reading.opened(db) as database, _told(db):
        which = chosen(database, session, root, **options)
        total = calls.count(database, which)
        found = track(
            calls.calls(database, which), total=total, description="exporting", console=console,
            transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        if endpoint:
            sent = _send(otlp.of_calls(database, found, style), endpoint, headers)
            click.echo(f"{sent:,} spans of {plural(total, 'call')} to {endpoint}", err=True)
            return
        with _opened(output) as file:
            for piece in form.write(database, found, style):
                file.write(piece)
                pieces += 1
    if output is not None:
        told = plural(pieces, "conversation") if form.is_of_sessions else plural(total, "call")
        click.echo(f"{told} to {output}", err=True)


def _send(found: Iterable[Span], endpoint: str, headers: dict[str, str]) -> int:
    """Send spans to a collector, and say how many; raises CannotExport."""
    sender = otlp.Sender(endpoint, headers, SECONDS)
    sent = 0
    for batch in otlp.batches(found):
        if not sender.send(batch):
            raise CannotExport(f"{endpoint} does not take the spans; it has taken {sent:,}")
        sent += len(batch)
    sender.close()
    return sent


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
    except CannotExport as error:
        raise click.ClickException(str(error)) from None
    except (NotJSON, NotPacked, sqlite3.Error) as error:
        raise click.ClickException(f"{db or 'traces.db'}: a record is broken: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """What is written to: a file for its owner alone; or what prints."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with files.private(output) as file:
        yield file
