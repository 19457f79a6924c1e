"""What nobody could tell without ids, and why."""

from __future__ import annotations

from typing import NamedTuple

from lab.compliance.score import Mistake


class Undecidable(NamedTuple):
    """A thing that cannot be told without ids; "" stands for every agent, scenario or kind."""

    reason: str
    aspects: tuple[str, ...]
    agent: str = ""
    scenario: str = ""
    kind: str = ""

    def covers(self, agent: str, mistake: Mistake) -> bool:
        """Whether a mistake is of this sort."""
        return (
            mistake.aspect in self.aspects
            and self.agent in ("", agent)
            and self.scenario in ("", mistake.scenario)
            and self.kind in ("", mistake.kind)
        )


UNDECIDABLE = (
    Undecidable(
        "a fork has its original's history to the letter, and goes on before the original does: "
        "nothing says which of the two it is",
        ("sessions", "parents"),
        scenario="forked",
        kind="main",
    ),
    Undecidable(
        "a call that warms the WebSocket up says nothing, not even whom it is for; when the next "
        "call names its reply, it has long been answered",
        ("sessions", "parents"),
        agent="codex (socket)",
        kind="prewarm",
    ),
)


def why_undecidable(agent: str, mistake: Mistake) -> str:
    """Why a mistake could not be avoided without ids; "" where it could."""
    return next((one.reason for one in UNDECIDABLE if one.covers(agent, mistake)), "")
