"""What was said, for a page: call by call, tool calls with their results, long texts cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from callerid.archive.calls import CallFacts
from callerid.archive.transcript import (
    Answered,
    Asked,
    Line,
    Other,
    Thought,
    Words,
    shown_arguments,
)
from callerid.explorer import words
from callerid.wire import wirejson

GLANCE = 160  # characters of a tool call's arguments, seen while it is folded
_IMAGES = ("image", "inlinedata", "inline_data")


class Place(NamedTuple):
    """Where on record a piece stands."""

    call: str
    reply: int
    at: int
    piece: int


class Shown(NamedTuple):
    """A piece as it is shown; `kind` is text, thinking, tool, result, image or other.

    `more` are the characters that were left out. A tool has arguments as `text`, and `result`.
    """

    kind: str
    text: str
    place: Place
    more: int = 0
    name: str = ""
    glance: str = ""
    result: Shown | None = None


class Said(NamedTuple):
    """A message."""

    role: str
    is_reply: bool
    position: int
    pieces: list[Shown]


class Exchange(NamedTuple):
    """A call, and what it said first; `number` counts the main ones."""

    call: CallFacts
    number: int
    messages: list[Said]


def exchanges(calls: Iterable[CallFacts], lines: Iterable[Line]) -> list[Exchange]:
    """A transcript, call by call."""
    said: dict[str, list[Said]] = {}
    for call_id, message in messages(lines):
        said.setdefault(call_id, []).append(message)
    found, number = [], 0
    for call in calls:
        number += call.kind == "main"
        found.append(Exchange(call, number if call.kind == "main" else 0, said.get(call.id, [])))
    return found


def messages(lines: Iterable[Line]) -> Iterable[tuple[str, Said]]:
    """The messages with the calls that said them; results stand with the calls of their tools."""
    lines = list(lines)
    waiting = _results(lines)
    asked = {piece.id for line in lines for piece in line.pieces if isinstance(piece, Asked)}
    for line in lines:
        shown = [
            _shown(piece, _place(line, at), waiting)
            for at, piece in enumerate(line.pieces)
            if not (isinstance(piece, Answered) and piece.call_id and piece.call_id in asked)
        ]
        if shown:
            yield line.call_id, Said(line.role, line.is_reply, line.position, shown)


def _place(line: Line, at: int) -> Place:
    return Place(line.call_id, int(line.is_reply), line.position, at)


def _results(lines: Iterable[Line]) -> dict[str, list[Shown]]:
    """The results of tools by the ids of their calls; clients may give an id twice."""
    found: dict[str, list[Shown]] = {}
    for line in lines:
        for at, piece in enumerate(line.pieces):
            if isinstance(piece, Answered) and piece.call_id:
                shown = _cut("result", piece.text, _place(line, at))
                found.setdefault(piece.call_id, []).append(shown)
    return found


def _cut(kind: str, text: str, place: Place) -> Shown:
    return Shown(kind, words.cut(text), place, max(0, len(text) - words.MOST))


def _shown(piece: object, place: Place, waiting: Mapping[str, list[Shown]]) -> Shown:
    if isinstance(piece, Words):
        return _cut("text", piece.text, place)
    if isinstance(piece, Thought):
        return _cut("thinking", piece.text, place)
    if isinstance(piece, Answered):
        return _cut("result", piece.text, place)
    if isinstance(piece, Asked):
        results = waiting.get(piece.id, [])
        result = results[0] if results else None
        if len(results) > 1:
            results.pop(0)
        shown = _cut("tool", told(piece.arguments), place)
        glance = words.cut(" ".join(shown.text[: 2 * GLANCE].split()), GLANCE)
        return shown._replace(name=piece.name, glance=glance, result=result)
    kind = piece.kind if isinstance(piece, Other) else "?"
    is_image = any(word in kind.lower() for word in _IMAGES)
    return Shown("image" if is_image else "other", kind, place)


def is_same(one: Line, two: Line) -> bool:
    """Whether two messages say the same; what was thought is often not sent again."""
    return one.role == two.role and _spoken(one) == _spoken(two)


def _spoken(line: Line) -> list[object]:
    return [piece for piece in line.pieces if not isinstance(piece, Thought)]


def told(arguments: object) -> str:
    """A tool call's arguments: a line each, and texts of several lines as they are."""
    members = wirejson.mapping(arguments)
    if not members:
        return shown_arguments(arguments)
    lines = []
    for name, value in members.items():
        text = value if isinstance(value, str) else shown_arguments(value)
        lines.append(f"{name}:\n{text}" if "\n" in text else f"{name}: {text}")
    return "\n".join(lines)


def text_of(piece: object) -> str:
    """All the words of a piece."""
    if isinstance(piece, Words | Answered | Thought):
        return piece.text
    return told(piece.arguments) if isinstance(piece, Asked) else ""
