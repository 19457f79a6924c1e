"""The nouns: a consumer and its pins, what it logged of a call, and one round with it."""

from __future__ import annotations

from typing import NamedTuple

from callerid.traces.database import Recorded
from lab.consumers.talks import Turn

ASPECTS = ("session", "parent", "final", "agent", "worker")


class Consumer(NamedTuple):
    """A program that reads identity headers, pinned.

    pip installs `packages` with all that they need, and `alone` without. `logs` are the aspects
    that it logs.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    alone: tuple[str, ...]
    logs: frozenset[str]


class Logged(NamedTuple):
    """What a consumer logged of one call; "" where it logged nothing of the kind."""

    session: str
    parent: str = ""
    final: bool = False
    agent: str = ""
    worker: str = ""


class Round(NamedTuple):
    """Talks through one mitmdump: the truth, the record, and what the consumer logged, by name.

    `aspects` are those in which the log is looked at.
    """

    consumer: Consumer
    told_by: str
    aspects: frozenset[str]
    turns: list[Turn]
    recorded: dict[str, Recorded]
    logged: dict[str, Logged]
    marks_last_calls: bool


# ai-dynamo goes without what it asks for: the frontend and the mocker need only these four, and one
# of the others (aisimulate) is on PyPI but a stub that fetches its wheel from an index of NVIDIA's.
DYNAMO = Consumer(
    name="ai-dynamo",
    version="1.6.1",
    packages=(
        "ai-dynamo-runtime==1.6.1",
        "msgspec>=0.19",
        "packaging",
        "prometheus-client>=0.23.1,<1",
        "pyyaml",
    ),
    alone=("ai-dynamo==1.6.1",),
    logs=frozenset(("session", "parent", "final", "worker")),
)
LITELLM = Consumer(
    name="litellm",
    version="1.106.2",
    packages=("litellm[proxy]==1.106.2",),
    alone=(),
    logs=frozenset(("session", "agent")),
)
# It stands beside callerid, not behind it: it takes spans, and shows sessions.
PHOENIX = Consumer(
    name="arize-phoenix",
    version="20.26.1",
    packages=("arize-phoenix==20.26.1",),
    alone=(),
    logs=frozenset(("session", "parent")),
)
