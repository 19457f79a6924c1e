"""The command `callerid tail`: calls as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.text import Text
from sqlite_utils import Database

from callerid import figures
from callerid.commands import reading

POLL_SECONDS = 0.3


class Seen(msgspec.Struct, frozen=True):
    """A call that began, or has ended; None is unknown, or not yet."""

    id: str
    session_id: str | None
    agent: str | None
    kind: str
    because: str | None
    confidence: float | None
    state: str
    status: int | None
    model: str | None
    started_at: float
    ended_at: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    error_message: str | None


_COLUMNS = """
select calls.rowid as number, calls.id, session_id, agents.name as agent, kind, because,
    confidence, state, status, coalesce(response_model, request_model) as model, started_at,
    ended_at, total_input_tokens as input_tokens, total_output_tokens as output_tokens, cost_usd,
    error_message
from calls left join agents on agents.id = calls.agent_id
"""
_NEW = f"{_COLUMNS} where calls.rowid > ? order by calls.rowid"
_LAST = f"{_COLUMNS} order by calls.rowid desc limit ?"
_OPEN = f"{_COLUMNS} where calls.id in (select value from json_each(?))"


@click.command()
@click.option("-n", "lines", default=10, metavar="N", help="Begin with the last N (default: 10).")
@click.option("--agent", default="", metavar="NAME", help="A part of the agent's name.")
@click.option("--no-follow", is_flag=True, help="Print the last ones, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@reading.db_option
def tail(lines: int, agent: str, no_follow: bool, as_json: bool, db: Path | None) -> None:
    """Print calls as they end, one a line; Ctrl-C stops."""
    console = reading.console()
    with reading.opened(db) as database:
        for seen in _watch(database, lines, follows=not no_follow):
            if agent.lower() not in (seen.agent or "").lower():
                continue
            if as_json:
                reading.print_json(seen, indent=-1)
            else:
                console.print(_line(seen), soft_wrap=True)


def _watch(database: Database, lines: int, *, follows: bool) -> Iterator[Seen]:
    """The last calls, then each when it has ended."""
    rows = list(database.query(_LAST, [lines]))[::-1]
    (newest,) = database.conn.execute("select coalesce(max(rowid), 0) from calls").fetchone()
    under_way: set[str] = set()
    try:
        while True:
            for row in rows:
                newest = max(newest, row.pop("number"))
                seen = msgspec.convert(row, Seen)
                if seen.state == "in_flight" and follows:
                    under_way.add(seen.id)
                    continue
                under_way.discard(seen.id)
                yield seen
            if not follows:
                return
            time.sleep(POLL_SECONDS)
            open_ids = msgspec.json.encode(sorted(under_way)).decode()
            rows = [
                *(row for row in database.query(_OPEN, [open_ids]) if row["state"] != "in_flight"),
                *database.query(_NEW, [newest]),
            ]
    except KeyboardInterrupt:
        return


def _line(seen: Seen) -> Text:
    at = datetime.fromtimestamp(seen.started_at).strftime("%H:%M:%S")
    took = seen.ended_at - seen.started_at if seen.ended_at else None
    used = reading.tokens(seen.input_tokens, seen.output_tokens)
    style = {"ok": "", "in_flight": "dim"}.get(seen.state, "red")
    trouble = "" if seen.state in ("ok", "in_flight") else f" {seen.state} {seen.status or ''}"
    return Text.assemble(
        (at, "dim"), " ", (reading.shown(seen.session_id or "no session"), "bold"),
        reading.shown(f" {seen.agent or ''}"),
        (f" {seen.kind}" if seen.kind != "main" else "", "cyan"),
        reading.shown(f" {seen.model or ''}"),
        f" {used} {figures.dollars(seen.cost_usd)} {figures.duration(took)}",
        (reading.shown(f"{trouble} {seen.error_message or ''}".rstrip()), style),
        (f" · {seen.because or ''} {seen.confidence or 0:.2f} · {seen.id}", "dim"),
    )  # fmt: skip
