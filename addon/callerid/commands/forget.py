"""The command `callerid forget`: sessions that shall be on record no more."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import click
from sqlite_utils import Database

from callerid.archive import forgetting
from callerid.archive.sessions import session_id
from callerid.commands import reading
from callerid.figures import plural


@click.command()
@click.argument("sessions", nargs=-1)
@click.option("--run", "whole_run", is_flag=True, help="With all sessions of their runs.")
@click.option(
    "--before", type=reading.Since(), default=None, metavar="TIME",
    help="All that were not heard of since: 30d, or a date.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go, and let it stay.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reading.db_option
def forget(
    sessions: tuple[str, ...], whole_run: bool, before: float | None, dry_run: bool, yes: bool,
    db: Path | None,
) -> None:  # fmt: skip
    """Delete SESSIONS for good: their calls, and every word that no other call holds.

    A proxy that runs forgets them too, within seconds of their last open call.
    """
    if not sessions and before is None:
        raise click.UsageError("expected SESSIONS, or --before TIME")
    with reading.opened(db) as database:
        found = forgetting.would_forget(database, _meant(database, sessions, before, whole_run))
        what = (
            f"{plural(len(found.sessions), 'session')}, {plural(found.calls, 'call')}, "
            f"{plural(found.messages, 'message')} that no other call holds"
        )
        if not found.sessions or dry_run:
            click.echo(f"would forget {what}" if found.sessions else "no session fits")
            return
        if not yes:
            click.confirm(f"Forget {what}?", abort=True)
        try:
            is_empty = forgetting.forget(database, found.sessions, time.time())
        except sqlite3.Error as error:
            raise click.ClickException(f"not all is forgotten: {error}; try again") from None
    click.echo(f"forgot {what}")
    if not is_empty:
        click.echo(
            "their words stay in the -wal file beside it until the proxy has written over it"
        )


def _meant(
    database: Database, named: tuple[str, ...], before: float | None, whole_run: bool
) -> list[str]:
    ids = [session_id(database, each) for each in named]
    if before is not None:
        ids += forgetting.heard_before(database, before)
    if whole_run:
        ids += [other for id in ids for other in forgetting.run_of(database, id)]
    return list(dict.fromkeys(ids))
