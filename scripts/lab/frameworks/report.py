"""The table of frameworks, and the words for what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from rich.table import Table

from lab.frameworks.framework import Framework
from lab.frameworks.judge import AGENTS, ASPECTS, PARENTS, SESSIONS, Mistake

_SHOWN = 2  # of the mistakes in one cell; the others are like them


class Known(NamedTuple):
    """How many calls of a cell are wrong at most, and why."""

    most: int
    why: str


_SHORT = Known(
    4,
    "six words within a text, or less than 48 characters of a query, prove no errand by themselves",
)
_PLANS = Known(8, "plans are asked for beside the conversation, under another system prompt")
_NOTHING = Known(0, "")

# What is wrong and stays so, by scenario and aspect.
KNOWN: Mapping[tuple[str, str], Known] = {
    ("smolagents_planning", SESSIONS): _PLANS,
    ("smolagents_planning", AGENTS): _PLANS,
    ("pydantic_ai_delegation", PARENTS): _SHORT,
    ("strands_tools", PARENTS): _SHORT._replace(most=2),
    ("autogen_selector", PARENTS): Known(
        6, "a search result that repeats the query is told to a peer, and looks like its errand"
    ),
    ("dspy_react", SESSIONS): Known(
        16, "what the model said is written into the middle of the next prompt (DECISIONS.md)"
    ),
    ("dspy_react", AGENTS): Known(4, "the last step is asked for under another system prompt"),
}


class Row(NamedTuple):
    """One scenario of a framework; `missing` says why it could not be played."""

    framework: Framework
    scenario: str
    calls: int = 0
    conversations: int = 0
    mistakes: tuple[Mistake, ...] = ()
    trouble: str = ""
    missing: str = ""

    def of(self, aspect: str) -> list[Mistake]:
        return [one for one in self.mistakes if one.aspect == aspect]

    def known(self, aspect: str) -> str:
        """Why an aspect of this scenario is wrong; "" where it need not be, or not so often."""
        known = KNOWN.get((self.scenario, aspect), _NOTHING)
        return known.why if len(self.of(aspect)) <= known.most else ""

    @property
    def is_right(self) -> bool:
        """Whether it went as meant, and nothing is wrong but what is known."""
        return not self.trouble and all(self.known(one.aspect) for one in self.mistakes)


def table(rows: Iterable[Row]) -> Table:
    """A row for each scenario, with the number of calls that are wrong where any is."""
    drawn = Table()
    for name in ("framework", "scenario"):
        drawn.add_column(name, no_wrap=True)
    for name in ("calls", "conversations"):
        drawn.add_column(name, justify="right")
    for aspect in ASPECTS:
        drawn.add_column(aspect)
    before = ""
    for row in rows:
        framework = f"{row.framework.name} {row.framework.version}"
        said = framework * (framework != before)
        if row.missing:
            drawn.add_row(said, row.scenario, "", "", "not installed")
        else:
            cells = (_cell(row, aspect) for aspect in ASPECTS)
            drawn.add_row(said, row.scenario, str(row.calls), str(row.conversations), *cells)
        before = framework
    return drawn


def _cell(row: Row, aspect: str) -> str:
    if row.trouble:
        return "FAILED"
    if not (wrong := len(row.of(aspect))):
        return "right"
    return f"{wrong} known" if row.known(aspect) else f"{wrong} WRONG"


def notes(rows: Iterable[Row]) -> Iterator[str]:
    """What is wrong, in words, a line each; then what is known, and why."""
    known: dict[str, list[str]] = {}
    for row in rows:
        if row.missing:
            yield f"{row.scenario}: {row.missing}"
        if row.trouble:
            yield f"{row.scenario}: {row.trouble}"
        for aspect in ASPECTS:
            wrong = row.of(aspect)
            if wrong and (why := row.known(aspect)):
                known.setdefault(why, []).append(f"{row.scenario}, {aspect}")
                continue
            yield from (f"{row.scenario}, {aspect}: {one.words}" for one in wrong[:_SHOWN])
            if len(wrong) > _SHOWN:
                yield f"{row.scenario}, {aspect}: and {len(wrong) - _SHOWN} more like it"
    for why, places in known.items():
        yield f"Known ({'; '.join(places)}): {why}."
