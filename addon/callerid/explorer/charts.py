"""Tokens and cost, call by call, as columns: how a context grows, and what of it was cached."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from callerid.archive.calls import CallFacts
from callerid.explorer import words
from callerid.turn import Kind

WIDTH = 1000.0
HEIGHT = 132.0
MOST_COLUMNS = 250  # more would be thinner than a line
WIDEST = 26.0


class Part(NamedTuple):
    """A piece of a column: read (from the cache), written (into it), fresh, output."""

    name: str
    y: float
    height: float


class Column(NamedTuple):
    """A call, or several that follow one another: then the largest of them."""

    call_id: str
    x: float
    width: float
    parts: list[Part]
    title: str
    is_compaction: bool


class Chart(NamedTuple):
    """A drawing, in units; `most` are the tokens of the highest column, `cost` a line."""

    width: float
    height: float
    columns: list[Column]
    most: int
    together: int
    cost: str
    usd: float


def chart(calls: Sequence[CallFacts]) -> Chart | None:
    """The columns of the main calls; None where no tokens are known."""
    known = [call for call in calls if call.kind == Kind.MAIN and call.input_tokens is not None]
    if not known:
        return None
    together = -(-len(known) // MOST_COLUMNS)
    bunches = [known[at : at + together] for at in range(0, len(known), together)]
    step = WIDTH / len(bunches)
    width = min(WIDEST, step * 0.78 if step > 3 else step)
    most = max(max(map(_tokens, known)), 1)
    # Columns that are few stand to the left, close to one another.
    step = min(step, WIDEST * 1.3)
    columns = [
        _column(bunch, round(at * step, 2), round(width, 2), most)
        for at, bunch in enumerate(bunches)
    ]
    spent = list(accumulate(sum(call.cost_usd or 0.0 for call in bunch) for bunch in bunches))
    line = " ".join(
        f"{at * step + width / 2:.1f},{HEIGHT * (1 - usd / spent[-1]):.1f}"
        for at, usd in enumerate(spent)
        if spent[-1]
    )
    return Chart(WIDTH, HEIGHT, columns, most, together, line, spent[-1])


def _tokens(call: CallFacts) -> int:
    return (call.input_tokens or 0) + (call.output_tokens or 0)


def _column(bunch: list[CallFacts], x: float, width: float, most: int) -> Column:
    call = max(bunch, key=_tokens)
    read, written = call.cache_read_input_tokens or 0, call.cache_creation_input_tokens or 0
    fresh = max(0, (call.input_tokens or 0) - read - written)
    values = (
        ("read", read), ("written", written), ("fresh", fresh), ("output", call.output_tokens or 0),
    )  # fmt: skip
    parts, top = [], HEIGHT
    for name, value in values:
        height = HEIGHT * value / most
        top -= height
        if value:
            parts.append(Part(name, round(top, 2), round(height, 2)))
    told = " · ".join(f"{words.count(value)} {name}" for name, value in values)
    several = f" (the largest of {len(bunch)} calls)" if len(bunch) > 1 else ""
    title = f"{words.clock(call.started_at)}{several}\n{told}\n{words.dollars(call.cost_usd)}"
    is_compaction = any(each.is_compaction for each in bunch)
    return Column(call.id, x, width, parts, title, is_compaction)
