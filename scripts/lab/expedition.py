"""A longer run for the demo's pictures: a planner of walks, three scouts, an error, and a fork."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anthropic

from lab import Answer, Asked, ToolCall, Usage, newest_text, tool_results
from lab.chats import Anthropic, Line, Said

TOOL_SECONDS = (0.15, 0.6)
PLANNER = "You are a planner of walks. Have each walk looked into by a scout before you propose it."
SCOUT = "You are a scout of walks. Read before you measure, and measure before you report."
QUESTION = (
    "Plan three walks across the bay of Mont-Saint-Michel in March 2026, one for each of the "
    "first three weekends, and tell me what each of them needs."
)
WALKS = ("Genêts to the Mount, on Saturday the 7th", "Saint-Léonard to Tombelaine",
         "the great crossing and back, on Saturday the 21st")  # fmt: skip
PLAN = """Three walks, and what each of them needs:

1. Saturday the 7th, Genêts to the Mount: 6.5 km, low water at 14:12. Boots, a jacket, two hours.
2. Sunday the 15th, Saint-Léonard to Tombelaine: 9 km over soft ground. A guide, and a rope.
3. Saturday the 21st, the great crossing and back: 13.2 m in the evening. Turn round by 13:30.

The tides of the three days, for your calendar:

```
day         low     high    height
2026-03-07  14:12   20:31   12.1 m
2026-03-15  08:40   14:55    9.4 m
2026-03-21  13:58   20:12   13.2 m
```

The third is for people who know the bay: the water comes back faster than you walk."""
ANSWERS: tuple[tuple[str, str, tuple[ToolCall, ...]], ...] = (
    ("with children", "The first one, if they like mud. I look at the ground once more.",
     (ToolCall("read_page", {"task": "the ground between Genêts and the Mount in March"}),)),
    ("with a dog", "On the first and the second. On a lead, because of the seals.", ()),
    ("Plan three walks", "I look up the tides of March first, and who may cross alone.",
     (ToolCall("read_page", {"task": "almanac of 2026: tides at Saint-Malo in March"}),
      ToolCall("read_page", {"task": "rules for crossing the bay"}))),
    ("Look into", "I look at the map of this one.",
     (ToolCall("read_page", {"task": "map of the bay, with the channels of this winter"}),)),
)  # fmt: skip
RESULTS = {
    "almanac": "2026-03-07 20:31 12.1 m\n2026-03-15 14:55 9.4 m\n2026-03-21 20:12 13.2 m",
    "rules": "Walkers without a guide keep north of the Sée, and are back long before high water.",
    "map": "The channel of the Sée has moved 300 m to the east since November; it is 40 cm deep.",
    "ground": "Firm sand for 4 km, then grey mud up to the ankle; no quicksand this winter.",
    "depth": "38 cm at low water, and 1.9 m two hours after it.",
}  # fmt: skip


class Guide:
    """What the model says to the planner and to the scouts; one scout finds it overloaded once."""

    def __init__(self) -> None:
        self._was_overloaded = False

    def __call__(self, asked: Asked) -> Answer:
        results, text = tool_results(asked), newest_text(asked)
        said = self._said(" ".join(results), text)
        if said is None:
            self._was_overloaded = True
            return Answer("Overloaded", status=529)
        words, wishes = said
        return Answer(words, wishes, usage=_usage(asked, words, bool(results) or "dog" in text))

    def _said(self, results: str, text: str) -> tuple[str, tuple[ToolCall, ...]] | None:
        if "Walkers" in results:
            return "All three weekends fit. I have each walk looked into by a scout.", tuple(
                ToolCall("delegate", {"task": f"Look into {walk}: the ground, and the water."})
                for walk in WALKS
            )  # fmt: skip
        if "Report on" in results:
            return PLAN, ()
        if "channel" in results:
            if "Tombelaine" in text and not self._was_overloaded:
                return None
            return "The channel has moved. I measure it.", (
                ToolCall("measure", {"task": "depth of the channel at low water"}),
            )
        if "38 cm" in results:
            return (
                f"Report on {text[10:40]}: boots, and two hours from low water.",
                (),
            )
        if "Firm sand" in results:
            return (
                "From eight years on: 4 km of firm sand, then mud, which is fun.",
                (),
            )
        return next((words, wishes) for part, words, wishes in ANSWERS if part in text)


def _usage(asked: Asked, words: str, goes_on: bool) -> Usage:
    """About what a provider would count, with a prompt of a usual size before what was said."""
    given = 6_000 + len(asked.body) // 3
    read = int(given * 0.9) if goes_on else 0
    return Usage(given, read, (given - read) * 2 // 3, 40 + len(words) // 3, 0)


async def as_providers_do(asked: Asked, index: int) -> None:
    """Let a reply take its time: the first piece some tenths of a second, the others little."""
    chance = random.Random(asked.serial * 1000 + index)
    await asyncio.sleep(chance.uniform(0.25, 0.6) if index == 0 else chance.uniform(0.005, 0.03))


def play(line: Callable[..., Line]) -> None:
    """Hold the run."""
    planner = Anthropic(line(), PLANNER, ("read_page", "delegate"), streams=True)
    said = planner.give(*_done(planner.ask(QUESTION)))
    errands = [str(wish.arguments["task"]) for wish in said.wishes]
    with ThreadPoolExecutor(len(errands)) as pool:
        reports = list(pool.map(lambda errand: _scout(line, errand), errands))
    planner.give(said.wishes, reports)
    other = planner.branch(line())
    planner.give(*_done(planner.ask("Which of them can be done with children?")))
    other.ask("Which of them can be done with a dog?")
    for chat in (planner, other):
        chat.close()


def _scout(line: Callable[..., Line], errand: str) -> str:
    chat = Anthropic(line(), SCOUT, ("read_page", "measure"), streams=True)
    time.sleep(random.Random(errand).uniform(0, 0.3))
    said = chat.ask(errand)
    while said.wishes:
        wishes, results = _done(said)
        try:
            said = chat.give(wishes, results)
        except anthropic.APIStatusError:
            time.sleep(0.8)
            said = chat.give(wishes, results)
    chat.close()
    return said.text


def _done(said: Said) -> tuple[list[object], list[str]]:
    """The tools that were asked for, and what they say when they have run."""
    chance = random.Random(said.text)
    time.sleep(chance.uniform(*TOOL_SECONDS))
    results = []
    for wish in said.wishes:
        task = str(wish.arguments["task"])
        name = next(name for name in RESULTS if re.search(name, task))
        results.append(RESULTS[name])
    return list(said.wishes), results
