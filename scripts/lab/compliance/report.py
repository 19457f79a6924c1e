"""The table of what was right and what was not, and the words for what was not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rich.table import Table

from lab.compliance.agent import Agent
from lab.compliance.judge import Judged
from lab.compliance.score import ASPECTS, Mistake
from lab.compliance.undecidable import why_undecidable

_SHOWN = 2  # of the mistakes in one cell; the others are like them


class Row(NamedTuple):
    """One scenario of one agent: what is wrong with ids, and without them."""

    agent: str
    version: str
    scenario: str
    calls: int
    troubles: list[str]
    with_ids: list[Mistake]
    without_ids: list[Mistake]

    @property
    def is_right(self) -> bool:
        """Whether it went as meant, all is right with ids, and all that can be is without."""
        avoidable = (one for one in self.without_ids if not why_undecidable(self.agent, one))
        return not self.troubles and not self.with_ids and not any(avoidable)


def rows(agent: Agent, names: Iterable[str], judged: Judged) -> list[Row]:
    """A row for each scenario that was played."""
    return [
        Row(
            agent.name,
            agent.version,
            name,
            judged.calls[name],
            judged.troubles.get(name, []),
            [one for one in judged.with_ids if one.scenario == name],
            [one for one in judged.without_ids if one.scenario == name],
        )
        for name in names
    ]


def table(found: Iterable[Row]) -> Table:
    """The table: each cell with ids, and without them."""
    drawn = Table(caption="each cell: with ids / without ids")
    for name in ("agent", "scenario"):
        drawn.add_column(name)
    drawn.add_column("calls", justify="right")
    for aspect in ASPECTS:
        drawn.add_column(aspect)
    before = ""
    for row in found:
        agent = f"{row.agent} {row.version}"
        if before and agent != before:
            drawn.add_section()
        cells = (f"{_with(row, aspect)} / {_without(row, aspect)}" for aspect in ASPECTS)
        drawn.add_row(agent * (agent != before), row.scenario, str(row.calls), *cells)
        before = agent
    return drawn


def _with(row: Row, aspect: str) -> str:
    wrong = _of(aspect, row.with_ids)
    return f"{len(wrong)} WRONG" if wrong else "right"


def _without(row: Row, aspect: str) -> str:
    wrong = _of(aspect, row.without_ids)
    if not wrong:
        return "right"
    is_undecidable = all(why_undecidable(row.agent, one) for one in wrong)
    return "undecidable" if is_undecidable else f"{len(wrong)} wrong"


def _of(aspect: str, found: list[Mistake]) -> list[Mistake]:
    return [one for one in found if one.aspect == aspect]


def notes(found: Iterable[Row]) -> Iterator[str]:
    """What is wrong, in words, a line each; then what is undecidable, and why."""
    reasons: dict[str, list[str]] = {}
    for row in found:
        where = f"{row.agent}, {row.scenario}"
        yield from (f"{where}: {trouble}" for trouble in row.troubles)
        for aspect in ASPECTS:
            yield from _few(f"{where}, with ids: ", _of(aspect, row.with_ids))
            avoidable = []
            for one in _of(aspect, row.without_ids):
                if why := why_undecidable(row.agent, one):
                    places = reasons.setdefault(why, [])
                    places += [where] * (where not in places)
                else:
                    avoidable.append(one)
            yield from _few(f"{where}, without ids: ", avoidable)
    for why, places in reasons.items():
        yield f"Undecidable without ids ({'; '.join(places)}): {why}."


def _few(start: str, found: list[Mistake]) -> Iterator[str]:
    yield from (start + one.words for one in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"{start}and {len(found) - _SHOWN} more like it"
