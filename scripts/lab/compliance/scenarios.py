"""Scenarios that several agents play word for word."""

from __future__ import annotations

from lab.compliance.agent import Say, Scenario

CONTINUED = Scenario(
    "continued",
    (
        Say("new", "[[continued: read; shell]] Please look at the notes."),
        Say("continue", "[[continued: read]] And once more."),
        Say("continue", "[[continued:]] What did you find?"),
    ),
)
FORKED = Scenario(
    "forked",
    (
        Say("new", "[[forked: read]] Please look at the notes."),
        Say("fork", "[[forked~1: shell]] Go one way.", of="forked"),
        Say("fork", "[[forked~2: shell]] Go another way.", of="forked"),
        Say("resume", "[[forked: shell]] Go straight on.", of="forked"),
    ),
)
