"""What the dialects have in common: events, texts in parts, arguments cut for streaming."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

_ARGUMENT_PIECE = 7  # characters; short, so that cuts fall inside keys and escapes


def event(data: object, *, name: str = "", line_end: str = "\n") -> bytes:
    """One server-sent event with JSON as its data."""
    lines = [f"event: {name}"] * bool(name) + [f"data: {json.dumps(data)}", "", ""]
    return line_end.join(lines).encode()


def text_of(content: Any) -> str:
    """The text of a content that is a text or a list of parts; other parts are passed over."""
    if isinstance(content, str):
        return content
    parts = content or []
    return "".join(part.get("text") or "" for part in parts if isinstance(part, dict))


def newest(texts: Iterable[str]) -> str:
    """The last of the texts that is not empty, or ""."""
    return next((text for text in reversed(list(texts)) if text), "")


def at_the_end(items: list[Any], *, type_key: str, type_name: str) -> list[Any]:
    """The items of one type with which a list ends, oldest first."""
    tail = itertools.takewhile(lambda item: item.get(type_key) == type_name, reversed(items))
    return list(tail)[::-1]


def cut(arguments: str) -> Iterator[str]:
    """The JSON of a tool's arguments in the pieces in which it is streamed."""
    for start in range(0, len(arguments), _ARGUMENT_PIECE):
        yield arguments[start : start + _ARGUMENT_PIECE]
