"""The dialects of the fake provider, and which of them a request speaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from lab.exchange import Answer, Asked
from lab.wires import anthropic, gemini, openai_chat, openai_responses


class Wire(Protocol):
    """What the module of a dialect has."""

    PATH: re.Pattern[str]

    def streams(self, asked: Asked) -> bool:
        """Whether the client wants the answer as server-sent events."""

    def whole(self, asked: Asked, answer: Answer) -> object:
        """The answer in one piece, to be sent as JSON."""

    def events(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        """The answer as server-sent events."""

    def error(self, asked: Asked, answer: Answer) -> object:
        """The answer as this vendor reports errors."""

    def newest_text(self, asked: Asked) -> str:
        """The text of the newest user message that has one."""

    def tool_results(self, asked: Asked) -> tuple[str, ...]:
        """The results of tools with which the conversation ends."""


def wire_of(path: str) -> Wire | None:
    """The dialect spoken at a path, whatever the path begins with."""
    return next((wire for wire in _WIRES if wire.PATH.search(path)), None)


def newest_text(asked: Asked) -> str:
    """What the user said last; "" for an unknown path."""
    wire = wire_of(asked.path)
    return wire.newest_text(asked) if wire else ""


def tool_results(asked: Asked) -> tuple[str, ...]:
    """What the tools said, if the newest message is theirs; else nothing."""
    wire = wire_of(asked.path)
    return wire.tool_results(asked) if wire else ()


_WIRES: tuple[Wire, ...] = (anthropic, openai_chat, openai_responses, gemini)
