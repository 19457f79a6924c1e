"""Who truly makes a call: it stands in the path, where callerid does not look."""

from __future__ import annotations

import re
from typing import NamedTuple

MAIN = "main"  # talks with the user: one session, without a parent
HANDED = "handed"  # is given the conversation as it stands: the session of the main agent
TOLD = "told"  # is told in other words what was said: one session, below the main agent's
HELPER = "helper"  # is given a task: a session of its own each time, below the main agent's
PEER = "peer"  # works beside others: one session, without a parent
ROLES = (MAIN, HANDED, TOLD, HELPER, PEER)

_PATH = re.compile(
    rf"/as/(?P<scenario>\w+)/(?P<conversation>\w+)/(?P<role>{'|'.join(ROLES)})"
    r"/(?P<agent>\w+)/(?P<steps>\d)/"
)


class Label(NamedTuple):
    """An agent in a conversation of a scenario, and how many tools it uses before it answers."""

    scenario: str
    conversation: str
    role: str
    agent: str
    steps: int = 2


def label_of(path: str) -> Label | None:
    """The label that a path begins with; None where it has none."""
    if not (found := _PATH.match(path)):
        return None
    said = found.groupdict()
    return Label(
        said["scenario"], said["conversation"], said["role"], said["agent"], int(said["steps"])
    )
