"""The commands `callerid link`, `split`, `merge` and `rename`: where a person knows better."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from callerid.archive import corrections
from callerid.archive.sessions import call_id, session_id
from callerid.commands import reading
from callerid.ids import new_id
from callerid.turn import Relation


@contextmanager
def _correcting() -> Iterator[None]:
    try:
        yield
    except corrections.BadCorrection as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.argument("session")
@click.argument("parent")
@click.option(
    "--relation", type=click.Choice([each.value for each in Relation]),
    default=Relation.SUBAGENT.value, help="How it came from it (default: subagent).",
)  # fmt: skip
@reading.db_option
def link(session: str, parent: str, relation: str, db: Path | None) -> None:
    """Say that SESSION came from PARENT. A proxy that runs takes it in within seconds."""
    with reading.opened(db) as database, _correcting():
        child, above = session_id(database, session), session_id(database, parent)
        corrections.link(database, child, above, Relation(relation), time.time())
    click.echo(f"{child} is now a {relation} of {above}")


@click.command()
@click.argument("call")
@reading.db_option
def split(call: str, db: Path | None) -> None:
    """Let CALL, and those after it in its session, be a session of their own."""
    with reading.opened(db) as database, _correcting():
        id, made = call_id(database, call), new_id("sess")
        corrections.split(database, id, made, time.time())
    click.echo(f"from {id} on it is now {made}")


@click.command()
@click.argument("session")
@click.argument("other")
@reading.db_option
def merge(session: str, other: str, db: Path | None) -> None:
    """Let the calls of OTHER belong to SESSION."""
    with reading.opened(db) as database, _correcting():
        kept, gone = session_id(database, session), session_id(database, other)
        corrections.merge(database, kept, gone, time.time())
    click.echo(f"{gone} is now part of {kept}")


@click.command()
@click.argument("session")
@click.argument("name")
@reading.db_option
def rename(session: str, name: str, db: Path | None) -> None:
    """Give SESSION a name of its own, beside its id; NAME "" takes it away."""
    with reading.opened(db) as database, _correcting():
        id = session_id(database, session)
        given = corrections.rename(database, id, name, time.time())
    click.echo(f"{id} is now called {given}" if given else f"{id} has no name of its own now")
