"""The commands `callerid show`, `search` and `diff`: what was said, and what changed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text
from sqlite_utils import Database

from callerid.archive import sessions as archive
from callerid.archive.compare import Comparison, Differing, compare
from callerid.archive.search import search as find
from callerid.archive.sessions import Filter
from callerid.archive.steps import before
from callerid.archive.transcript import (
    Answered,
    Asked,
    Line,
    Pieces,
    Reader,
    Thought,
    Words,
    shown_arguments,
)
from callerid.commands import reading
from callerid.traces.pack import NotPacked
from callerid.wire.wirejson import NotJSON

FOLDED_LINES = 3  # of a tool's answer, and of what a model thought
FOLDED_CHARACTERS = 300
_MARK = "\x01"


@click.command()
@click.argument("wanted", metavar="SESSION|CALL")
@click.option("--full", is_flag=True, help="Do not fold tool calls, their results and thinking.")
@reading.json_option
@reading.db_option
def show(wanted: str, full: bool, as_json: bool, db: Path | None) -> None:
    """Print what was said: a session as a transcript, or one call with all that it sent.

    An id may be cut short. In a session each message stands once.
    """
    with reading.opened(db) as database:
        reader, name = Reader(database), ""
        session, call = archive.session_or_call(database, wanted)
        id = session or call
        if session:
            (facts,) = archive.sessions(database, Filter(session=session))
            name, lines = facts.name, reader.session(session)
        else:
            lines = reader.call(call)
    title = f"session {id}{f' · {name}' if name else ''}" if session else f"call {id}"
    if as_json:
        reading.print_json({"id": id, **({"name": name} if name else {}), "messages": lines})
        return
    console = reading.console()
    console.print(Text(reading.shown(title), style="bold"))
    print_lines(console, lines, full=full)
    if lines and not any(line.pieces for line in lines):
        console.print("No word of it is on record (record.content).", style="dim")


def print_lines(console: Console, lines: Iterable[Line], *, full: bool = False) -> None:
    """A transcript; a heading wherever somebody else speaks, or in another call."""
    speaking: tuple[str, str] | None = None
    for line in lines:
        if (line.role, line.call_id) != speaking:
            speaking = (line.role, line.call_id)
            heading = Text.assemble((line.role, "bold"), (f" {line.call_id}", "dim"))
            console.print(Rule(heading, align="left", style="dim"), width=min(console.width, 100))
        for piece in line.pieces:
            console.print(*_piece(piece, full=full), soft_wrap=True)


def _piece(piece: Pieces, *, full: bool) -> tuple[Padding | Text, ...]:
    if isinstance(piece, Words):
        return (Text(reading.shown(piece.text)),)
    if isinstance(piece, Asked):
        words = f"▸ {piece.name} {shown_arguments(piece.arguments)}"
        return (Text(reading.shown(words if full else _cut(words)), style="cyan"),)
    if isinstance(piece, Answered):
        return (Text(_folded(f"← {piece.text}", full=full), style="dim"),)
    if isinstance(piece, Thought):
        return (Text(_folded(f"(thinks) {piece.text}", full=full), style="dim italic"),)
    return (Text(reading.shown(f"[{piece.kind}]"), style="dim"),)


def _folded(text: str, *, full: bool) -> str:
    text = reading.shown(text)
    lines = text.splitlines()
    if full or len(lines) <= FOLDED_LINES + 1:
        return text if full else _cut(text)
    kept = "\n".join(lines[:FOLDED_LINES])
    return f"{_cut(kept)}\n… {len(lines) - FOLDED_LINES} more lines (--full)"


def _cut(text: str) -> str:
    return text if len(text) <= FOLDED_CHARACTERS else text[:FOLDED_CHARACTERS] + "… (--full)"


@click.command()
@click.argument("words", nargs=-1, required=True)
@reading.who_options
@click.option("--limit", default=20, metavar="N", help="So many at most (default: 20).")
@reading.json_option
@reading.db_option
def search(
    words: tuple[str, ...], limit: int, as_json: bool, db: Path | None, **options: Any
) -> None:
    """Look for words in everything that was said; all of them, "in quotes" as a phrase."""
    with reading.opened(db) as database:
        found = list(find(database, " ".join(words), Filter(**options), limit, _MARK))
    if as_json:
        reading.print_json(found)
        return
    console, now = reading.console(), time.time()
    for hit in found:
        console.print(
            Text.assemble(
                (reading.shown(hit.session_id), "bold"),
                reading.shown(f" · {hit.agent} · {hit.role} · "),
                (f"{hit.call_id} · {reading.ago(hit.started_at, now)}", "dim"),
            )
        )  # fmt: skip
        pieces = map(reading.shown, " ".join(hit.snippet.split()).split(_MARK))
        styled = [(piece, "bold yellow" if at % 2 else "") for at, piece in enumerate(pieces)]
        console.print(Text.assemble("  ", *styled), soft_wrap=True)
    if not found:
        console.print("nothing was said with these words")


@click.command()
@click.argument("first", metavar="CALL")
@click.argument("second", metavar="[CALL]", required=False)
@reading.json_option
@reading.db_option
def diff(first: str, second: str | None, as_json: bool, db: Path | None) -> None:
    """What changed from one call to another, in all that they sent; why a cache was missed.

    With one CALL: since the main call before it in its session.
    """
    with reading.opened(db) as database:
        one = archive.call_id(database, first)
        if second:
            two = archive.call_id(database, second)
        else:
            one, two = _before(database, one), one
        try:
            found = compare(database, one, two)
        except (NotJSON, NotPacked):
            raise click.ClickException(
                f"what {one} or {two} sent is not on record (record.content), or broken"
            ) from None
    if as_json:
        reading.print_json({"why": found.why, **msgspec.to_builtins(found)})
        return
    _print_comparison(reading.console(), found)


def _before(database: Database, call_id: str) -> str:
    if found := before(database, call_id):
        return found
    raise archive.NotFound(f"{call_id} is the first call of its session: name another one too")


def _print_comparison(console: Console, found: Comparison) -> None:
    console.print(Text(f"{found.first} → {found.second}", style="bold"))
    console.print(reading.shown(found.why))
    for title, changes in (("settings", found.settings), ("tools", found.tools)):
        if changes:
            console.print(reading.shown(f"{title}: {_differing(changes)}"))
    if found.tools_reordered:
        console.print("tools: in another order")
    for line in found.system:
        style = {"+": "green", "-": "red"}.get(line[:1], "dim")
        console.print(Text(reading.shown(f"  {line}"), style=style), soft_wrap=True)
    before, after = found.messages
    console.print(f"messages: {before} → {after}, the first {found.same_messages} the same")
    for sign, style, message in (("-", "red", found.left), ("+", "green", found.right)):
        if message is not None and found.same_messages < before:
            words = _cut(" ".join(message.text.split()))
            console.print(
                Text(reading.shown(f"  {sign} {message.role}: {words}"), style=style),
                soft_wrap=True,
            )


def _differing(changes: Differing) -> str:
    return "; ".join(
        f"{words} {', '.join(names)}"
        for words, names in (
            ("without", changes.removed), ("new", changes.added), ("changed", changes.changed)
        )
        if names
    )  # fmt: skip
