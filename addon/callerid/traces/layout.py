"""How the JSON of a request was laid out: what stood between its members and its messages.

Clients write the same call in their own way: compact, as json.dumps does with a space behind each
comma, or indented. What is within a member or a message is kept as it was sent; this is the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from callerid.wire import wirejson

Value = bytes | list[bytes] | tuple["Member", ...]  # JSON; the items of an array; an object
Member = tuple[str, Value]


class Layout(NamedTuple):
    """What stands around and between the members of an object, and the items of an array."""

    open: bytes = b"{"
    colon: bytes = b":"
    comma: bytes = b","
    close: bytes = b"}"
    item_open: bytes = b"["
    item_comma: bytes = b","
    item_close: bytes = b"]"


COMPACT = Layout()
SPACED = Layout(colon=b": ", comma=b", ", item_comma=b", ")  # Python's json.dumps
_WRAPPED = "request."
_LONGEST = 100  # bytes between two members; more is no layout
_GAPS = {
    "open": re.compile(rb"\s*\{\s*"),
    "colon": re.compile(rb"\s*:\s*"),
    "comma": re.compile(rb"\s*,\s*"),
    "close": re.compile(rb"\s*\}\s*"),
    "item_open": re.compile(rb"\[\s*"),
    "item_comma": re.compile(rb"\s*,\s*"),
    "item_close": re.compile(rb"\s*\]"),
}


def filled(members: Iterable[tuple[str, bytes]], kept: Mapping[bytes, Value]) -> list[Member]:
    """Members as on record, with what is kept elsewhere put in for what stands there.

    Gemini Code Assist wraps its call: the members inside are recorded as request.NAME.
    """
    outside: list[Member] = []
    inside: list[Member] = []
    for name, raw in members:
        value = kept.get(raw, raw)
        if name.startswith(_WRAPPED):
            inside.append((name[len(_WRAPPED) :], value))
        else:
            outside.append((name, value))
    return [*outside, ("request", tuple(inside))] if inside else outside


def built(members: Sequence[Member], layout: Layout) -> bytes:
    """An object of some members, in a layout."""
    pieces = [
        wirejson.encode(name) + layout.colon + _value(value, layout) for name, value in members
    ]
    return layout.open + layout.comma.join(pieces) + layout.close


def array(items: Sequence[bytes], layout: Layout) -> bytes:
    """An array of some items, in a layout."""
    return layout.item_open + layout.item_comma.join(items) + layout.item_close


def _value(value: Value, layout: Layout) -> bytes:
    if isinstance(value, bytes):
        return value
    return array(value, layout) if isinstance(value, list) else built(value, layout)


def likely(body: bytes) -> Layout:
    """Which of the two common layouts a body has, by its first colon."""
    return SPACED if body[: body.find(b":") + 2].endswith(b": ") else COMPACT


def found(body: bytes, members: Sequence[Member]) -> Layout:
    """The layout in which a body is built of some members; COMPACT where there is none."""
    gaps: dict[str, bytes] = {}
    at = 0
    for name, piece in _walk(members):
        gap = _GAPS[name].match(body, at)
        if gap is None or not body.startswith(piece, gap.end()):
            return COMPACT
        gaps.setdefault(name, gap[0][:_LONGEST])
        at = gap.end() + len(piece)
    return Layout(**gaps)


def found_array(raw: bytes, items: list[bytes]) -> Layout | None:
    """The layout in which an array is built of its items; None where there is none."""
    at, gaps = 0, dict[str, bytes]()
    for name, piece in _walk_items(items):
        gap = _GAPS[name].match(raw, at)
        if gap is None:
            return None
        gaps.setdefault(name, gap[0])
        at = gap.end() + len(piece)
    layout = Layout(**gaps)
    return layout if array(items, layout) == raw else None


def _walk(members: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Each gap, with what comes after it."""
    if not members:
        yield "open", b""
    for number, (name, value) in enumerate(members):
        yield ("comma" if number else "open"), wirejson.encode(name)
        if isinstance(value, bytes):
            yield "colon", value
        elif isinstance(value, list):
            yield "colon", b""
            yield from _walk_items(value)
        else:
            yield "colon", b""
            yield from _walk(value)
    yield "close", b""


def _walk_items(items: list[bytes]) -> Iterator[tuple[str, bytes]]:
    if not items:
        yield "item_open", b""
    for number, item in enumerate(items):
        yield ("item_comma" if number else "item_open"), item
    yield "item_close", b""


def written(layout: Layout) -> str | None:
    """A layout as it is written down; None is COMPACT, which most clients use."""
    if layout == COMPACT:
        return None
    return wirejson.encode([gap.decode() for gap in layout]).decode()


def read(text: object) -> Layout:
    """A layout that was written down; raises NotJSON."""
    if not text:
        return COMPACT
    gaps = wirejson.sequence(wirejson.decode(str(text).encode()))
    if len(gaps) != len(COMPACT):
        raise wirejson.NotJSON(f"expected a layout of {len(COMPACT)} texts, got {len(gaps)}")
    return Layout(*(str(gap).encode() for gap in gaps))
