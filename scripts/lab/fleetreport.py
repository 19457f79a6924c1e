"""What the fleet's demo says: claims that are right or wrong, and the share of cache hits."""

from __future__ import annotations

from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from lab.fleet import Worker, places


class Share(NamedTuple):
    """How one way of distributing calls went."""

    name: str
    calls: list[int]  # of each worker
    talks: int
    stayed: int  # conversations that were at one worker only
    tokens: int
    cached: int


class Report:
    """Says what was seen, and keeps what is wrong."""

    def __init__(self, console: Console) -> None:
        self.wrong = 0
        self._console = console

    def check(self, claim: str, is_right: bool, seen: object = "") -> None:
        """Say a claim that is right, or what was seen instead."""
        self.wrong += not is_right
        more = f" ({seen})" if seen else ""
        verdict = "right" if is_right else "WRONG"
        self._console.print(f"  {verdict}  {claim}{more}", soft_wrap=True)

    def shares(self, found: list[Share]) -> None:
        """The table of cache hits."""
        table = Table()
        for title in ("", "calls at w1 / w2 / w3", "stayed at one", "prompt tokens", "from cache"):
            table.add_column(title, justify="right" if title else "left")
        for share in found:
            calls = " / ".join(map(str, share.calls))
            table.add_row(
                share.name, calls, f"{share.stayed} of {share.talks}",
                f"{share.tokens:,}", f"{share.cached / share.tokens:.1%}",
            )  # fmt: skip
        self._console.print(table)


def share(name: str, fleet: list[Worker], replies: list[httpx.Response]) -> Share:
    """What the workers and their replies say of a load."""
    at = places(fleet).values()
    used = [reply.json()["usage"] for reply in replies]
    return Share(
        name,
        [len(worker.asked) for worker in fleet],
        len(at),
        sum(len(set(names)) == 1 for names in at),
        sum(usage["prompt_tokens"] for usage in used),
        sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in used),
    )
