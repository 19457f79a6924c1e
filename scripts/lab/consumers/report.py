"""The table of what consumers were told, and the words for what was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table

from lab.consumers.consumer import ASPECTS
from lab.consumers.judge import ANSWERED, Verdict


def table(verdicts: Iterable[Verdict]) -> Table:
    """A row for each round, a column for each aspect; - is what the consumer is not told."""
    drawn = Table()
    for name in ("consumer", "profile"):
        drawn.add_column(name)
    drawn.add_column("calls", justify="right")
    for aspect in (ANSWERED, *ASPECTS):
        drawn.add_column(aspect)
    before = ""
    for verdict in verdicts:
        consumer = f"{verdict.consumer.name} {verdict.consumer.version}"
        if before and consumer != before:
            drawn.add_section()
        cells = (_cell(verdict, aspect) for aspect in (ANSWERED, *ASPECTS))
        drawn.add_row(consumer * (consumer != before), verdict.told_by, str(verdict.calls), *cells)
        before = consumer
    return drawn


def _cell(verdict: Verdict, aspect: str) -> str:
    wrong = sum(mistake.aspect == aspect for mistake in verdict.mistakes)
    if wrong:
        return f"{wrong} WRONG"
    return "right" if aspect in {ANSWERED, *verdict.aspects} else "-"


def notes(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What is wrong, in words, a line each."""
    for verdict in verdicts:
        where = f"{verdict.consumer.name}, {verdict.told_by}"
        yield from (f"{where}: {mistake.words}" for mistake in verdict.mistakes)
