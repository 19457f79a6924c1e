"""The nouns of one exchange: what the provider was asked, and what it shall answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from lab import encodings

_WORD = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish of the model that the client run a tool."""

    name: str
    arguments: dict[str, object] = field(default_factory=dict)

    def json(self) -> str:
        return json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, counted as OpenAI does: `input` includes the cached, `output` the reasoning.

    The defaults are all different, so that a reader who mixes two of them up is caught.
    """

    input: int = 120
    cache_read: int = 40
    cache_write: int = 20
    output: int = 30
    reasoning: int = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says; with a `status` from 400 on, the dialect's error with that text."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    status: int = 200
    usage: Usage = Usage()
    items: tuple[dict[str, Any], ...] = ()  # more output, as it is; only the Responses API has it

    def words(self) -> list[str]:
        """The text in the pieces in which it is streamed; joined they are the text."""
        return _WORD.findall(self.text)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; `serial` counts the requests of one provider from 1."""

    serial: int
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]  # names in lower case, in the order sent
    body: bytes
    http_version: str  # as ASGI has it: "1.1" or "2"

    def header(self, name: str) -> str:
        """The value of the first header of that name, or ""."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def json(self) -> Any:
        """The body as JSON, unpacked first: Codex sends requests packed with zstd."""
        return json.loads(encodings.unpack(self.header("content-encoding"), self.body))
