"""What the scenarios share: where the model is, who asks it, and what the user says."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

MAIN, HANDED, TOLD, HELPER, PEER = (
    "main",
    "handed",
    "told",
    "helper",
    "peer",
)  # label.py says what they are
KEY = "sk-lab-0123456789abcdef0123456789"
MODEL = "lab-1"
# Two of the users want the same, word for word.
TASKS = (
    "Write a short report on the battery storage market for the board, with sources.",
    "Plan a weekend trip to a small town by train, with a budget.",
    "Find out why the invoice import fails for two customers and propose a fix.",
    "Write a short report on the battery storage market for the board, with sources.",
)
AFTERWARDS = ("Now make it shorter.", "Thanks. And what about the costs?")


def at(number: int, role: str, agent: str, *, steps: int = 2, version: str = "/v1") -> str:
    """The model's address for an agent of a conversation; it uses `steps` tools for an answer."""
    scenario = os.environ["LAB_SCENARIO"]
    place = f"/as/{scenario}/{number}/{role}/{agent}/{steps}"
    return os.environ["LAB_URL"] + place + version


def found(query: str) -> str:
    """What the search says, for all that is searched for."""
    return f"3 results for {query}: nothing new"


def side_by_side(converse: Callable[[int], object]) -> None:
    """Hold a conversation for each task, all at once, in threads."""
    threads = [threading.Thread(target=converse, args=(one,)) for one in range(len(TASKS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def side_by_side_in_loop(converse: Callable[[int], Awaitable[object]]) -> None:
    """Hold a conversation for each task, all at once, in one event loop."""

    async def all_of_them() -> None:
        await asyncio.gather(*map(converse, range(len(TASKS))))

    asyncio.run(all_of_them())
