"""What a prompt tells the scripted model to do, and whose talk it is: `[[label: read; shell]]`."""

from __future__ import annotations

import re
from typing import NamedTuple

_SCRIPT = re.compile(r"\[\[([\w/~-]+):([^\]]*)\]\]")


class Step(NamedTuple):
    """One thing that the model does before its last word.

    `word` is read, shell, send (helpers, all at once), background (the same, not waited for), nest
    (a helper, which sends a helper), copy (a helper that knows the history) or wait. With `!` after
    the word the provider first refuses, with `*` it counts so many tokens that the history is full.
    """

    word: str
    names: tuple[str, ...] = ()
    refused: bool = False
    is_big: bool = False


class Script(NamedTuple):
    """Whose talk it is, and what the model shall do.

    `a/b` is a helper of `a`, `a~1` a fork of `a`.
    """

    label: str
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return f"[[{self.label}: {'; '.join(map(_written, self.steps))}]]"


def scripts(text: str) -> list[Script]:
    """Every script in a text, in its order."""
    return [Script(label, steps(said)) for label, said in _SCRIPT.findall(text)]


def steps(text: str) -> tuple[Step, ...]:
    """`read; shell!; send one two` as steps."""
    return tuple(_step(*words) for words in map(str.split, text.split(";")) if words)


def errand(label: str, step: Step, name: str) -> str:
    """What a helper is told."""
    nested = step.names[1:] if step.word == "nest" else ()
    told = Script(f"{label}/{name}", (Step("send", nested),) if nested else (Step("read"),))
    return f"{told} Please read the notes for {name}, and report what stands in them."


def helpers(step: Step) -> tuple[str, ...]:
    """The names of the helpers that a step sends itself."""
    return step.names[:1] if step.word in ("nest", "copy") else step.names


def labels(text: str) -> list[str]:
    """Every talk that comes about when a text is the prompt."""
    found = []
    for script in scripts(text):
        found.append(script.label)
        for step in script.steps:
            for name in helpers(step):
                found += labels(errand(script.label, step, name))
    return found


def root(label: str) -> str:
    """The talk from which all came that a label comes from: the scenario's name."""
    return re.split("[/~]", label)[0]


def parent(label: str) -> str:
    """The talk from which this one came; "" for one that came from none."""
    return re.split(r"[/~][^/~]*$", label)[0] if re.search("[/~]", label) else ""


def relation(label: str) -> str:
    """How a talk came from its parent: subagent, fork, or "" where it has none."""
    signs = re.findall("[/~]", label)
    return {"/": "subagent", "~": "fork"}[signs[-1]] if signs else ""


def _step(word: str, *names: str) -> Step:
    return Step(word.rstrip("!*"), names, "!" in word, "*" in word)


def _written(step: Step) -> str:
    return " ".join((step.word + "!" * step.refused + "*" * step.is_big, *step.names))
