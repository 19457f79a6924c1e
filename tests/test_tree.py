"""The session tree, as it is drawn."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from callerid.archive.sessions import Cost, SessionFacts
from callerid.commands.tree import draw


def branch(id: str, parent: str = "", **more: Any) -> SessionFacts:
    told: dict[str, Any] = {
        "root_session_id": parent or id, "parent_session_id": parent, "relation": "",
        "agent_id": "agent_1", "agent": "clerk", "client": "", "because": "new", "confidence": 0.9,
        "evidence": "an opening", "calls": 2, "under_way": 0, "failures": 0, "models": ("m",),
        "input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": None,
        "cost": Cost(0.5, 0, 2), "first_seen": 1.0, "last_seen": 2.0, "seconds": 5.0, "title": "",
    }  # fmt: skip
    return SessionFacts(id, **(told | more))


def drawn(*branches: SessionFacts) -> list[str]:
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(draw(branches))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_children_stand_below_their_parents() -> None:
    lines = drawn(branch("child", "root", relation="subagent"), branch("root"), branch("other"))

    assert lines[0] == "3 sessions · $1.50"
    told = "├── root · clerk · 2 calls · m · 3 → 4 tokens · $0.5000 ($1.00 with its own) · 5.0 s"
    assert lines[1].startswith(told)
    assert lines[2] == "│   new 0.90: an opening"
    assert lines[3].startswith("│   └── child · clerk · subagent")
    assert lines[5].startswith("└── other")


def test_a_parent_that_is_not_shown_leaves_its_child_at_the_top() -> None:
    assert drawn(branch("child", "elsewhere"))[1].startswith("└── child")


def test_failures_and_long_times_are_told() -> None:
    lines = drawn(branch("a", calls=1, failures=1, seconds=61.0), branch("b", seconds=7260.0))

    assert "1 call, 1 failed" in lines[1]
    assert lines[1].endswith("1 min 01 s")
    assert lines[3].endswith("2 h 01 min")


def test_what_nobody_knows_the_price_of_is_told_and_never_taken_to_be_free() -> None:
    lines = drawn(branch("a", cost=Cost(0.0, 2)), branch("b", cost=Cost(0.25, 1, 1)))

    assert lines[0] == "2 sessions · $0.2500 and 3 calls unknown"
    assert "· cost unknown ·" in lines[1]
    assert "· $0.2500 and 1 call unknown ·" in lines[3]
