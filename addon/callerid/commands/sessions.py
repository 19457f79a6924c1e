"""The commands `callerid sessions`, `tree` and `stats`: what there is, and what it came to."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from callerid import figures
from callerid.archive import sessions as archive
from callerid.archive.sessions import SessionFacts
from callerid.archive.stats import Share, Stats
from callerid.archive.stats import stats as count
from callerid.commands import reading
from callerid.commands.tree import draw

SHOWN = 50


@click.command()
@reading.filter_options
@click.option("--limit", default=SHOWN, metavar="N", help=f"So many at most (default: {SHOWN}).")
@reading.json_option
@reading.db_option
def sessions(limit: int, as_json: bool, db: Path | None, **options: object) -> None:
    """List the sessions on record, the one heard of last first."""
    with reading.opened(db) as database:
        found = list(archive.sessions(database, reading.chosen(**options), limit))
    if as_json:
        reading.print_json(found)
        return
    now, has_names = time.time(), any(each.name for each in found)
    table = reading.table(
        "session", *(["name"] if has_names else []), "agent", "client", ">calls", "tokens",
        ">cost", "heard of", "status", "begins",
    )  # fmt: skip
    for each in found:
        client = "" if each.client == each.agent else each.client
        status = each.status if each.status != "failed" else f"{each.failures} failed"
        table.add_row(
            reading.cell(each.id), *([reading.cell(each.name)] if has_names else []),
            reading.cell(each.agent), reading.cell(client), str(each.calls),
            reading.tokens(each.input_tokens, each.output_tokens), str(each.cost),
            reading.ago(each.last_seen, now), status, reading.cell(each.title),
        )  # fmt: skip
    reading.console().print(table if found else "no session fits")


@click.command()
@click.argument("root", required=False)
@reading.since_option
@reading.json_option
@reading.db_option
def tree(root: str | None, since: float | None, as_json: bool, db: Path | None) -> None:
    """Print the sessions as a tree, with the evidence for each; or the run of one session."""
    with reading.opened(db) as database:
        which = archive.Filter(since=since)
        if root:
            id = archive.session_id(database, root)
            (own,) = database.query("select root_session_id from sessions where id = ?", [id])
            which = which._replace(root=own["root_session_id"])
        found = list(archive.sessions(database, which))
    if as_json:
        reading.print_json(_nested(archive.parents_first(found)))
        return
    reading.console().print(draw(found) if found else "no session is on record")


def _nested(ordered: list[SessionFacts]) -> list[dict[str, object]]:
    """The sessions as objects, the children of each within it."""
    costs = archive.costs_with_children(ordered)
    made: dict[str, dict[str, object]] = {}
    roots: list[dict[str, object]] = []
    for session in ordered:
        node: dict[str, object] = msgspec.to_builtins(session)
        node["cost_with_children"] = msgspec.to_builtins(costs[session.id])
        children: list[dict[str, object]] = []
        node["children"] = children
        made[session.id] = node
        above = made.get(session.parent_session_id)
        (above["children"] if above else roots).append(node)  # type: ignore[attr-defined]
    return roots


@click.command()
@reading.since_option
@click.option("--limit", default=10, metavar="N", help="So many of each list (default: 10).")
@reading.json_option
@reading.db_option
def stats(since: float | None, limit: int, as_json: bool, db: Path | None) -> None:
    """What the calls came to: by session, agent, client, model and day."""
    with reading.opened(db) as database:
        found = count(database, since or 0.0, limit)
    if as_json:
        reading.print_json(found)
        return
    console = reading.console()
    console.print(_whole(found))
    for title, shares in (
        ("most active sessions", found.by_session), ("agents", found.by_agent),
        ("clients", found.by_client), ("models", found.by_model), ("days", found.by_day),
    ):  # fmt: skip
        table = reading.table(
            title, ">sessions", ">calls", ">failed", "tokens", ">cached", ">cost", ">reply",
            ">first byte",
        )  # fmt: skip
        for share in shares:
            table.add_row(
                reading.cell(share.name), f"{share.sessions:,}", f"{share.calls:,}",
                f"{share.failures:,}",
                reading.tokens(share.input_tokens, share.output_tokens), _cached(share),
                str(share.cost), figures.duration(share.seconds),
                figures.duration(share.first_byte_seconds),
            )  # fmt: skip
        console.print()
        console.print(table)


def _whole(found: Stats) -> str:
    whole = found.whole
    return (
        f"{figures.plural(whole.calls, 'call')} ({whole.failures:,} failed) in "
        f"{figures.plural(whole.sessions, 'session')}, "
        f"{reading.tokens(whole.input_tokens, whole.output_tokens)} tokens, "
        f"{whole.cost}\n"
        f"a session takes {_took(found.average_session_seconds)} on average, "
        f"{_took(found.longest_session_seconds)} at most; "
        f"a reply {_took(whole.seconds)}, its first byte {_took(whole.first_byte_seconds)}"
    )


def _took(seconds: float | None) -> str:
    return figures.duration(seconds) or "nobody knows how long"


def _cached(share: Share) -> str:
    read, given = share.cache_read_input_tokens, share.input_tokens
    return f"{read / given:.0%}" if read is not None and given else ""
