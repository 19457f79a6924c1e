"""How a reply is framed: as one whole, or as events of one kind or another.

Its first bytes decide, and its content type where they do not tell: content types are often wrong,
and gateways lose them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from callerid.wire import eventstream, ndjson, sse, wirejson

FIRST_LINE_BYTES = 1 << 16  # a line of a stream is a few hundred bytes; a whole reply may be one


class EventParser(Protocol):
    """Turns the bytes of a stream into events, as they come."""

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """Take the next bytes; raises ValueError where an event outgrows its bound."""
        ...

    def close(self) -> list[sse.Event]:
        """Say that the stream has ended; return the event that it cut off, if there is one."""
        ...


class Framing(Enum):
    """What the bytes of a reply are."""

    WHOLE = auto()
    SSE = auto()
    LINES = auto()
    AWS = auto()


def framing(content_type: str, start: bytes) -> Framing | None:
    """How the bytes that begin a reply are framed; None while they do not tell."""
    said = _CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
    if start.startswith(b"\0"):  # no text does; the length of a frame, four bytes, is small
        return Framing.AWS if said is Framing.AWS else _aws_or_whole(start)
    sign = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if sign.startswith(b"{"):
        return Framing.LINES if said is Framing.LINES else _lines_or_whole(sign)
    if sign.startswith(b"[") or not sign:
        return Framing.WHOLE if sign else None
    return Framing.SSE if said is Framing.SSE else _sse_or_whole(sign)


def _aws_or_whole(start: bytes) -> Framing | None:
    if len(start) < eventstream.PRELUDE_BYTES:
        return None
    return Framing.AWS if eventstream.frame_length(start) else Framing.WHOLE


def _lines_or_whole(start: bytes) -> Framing | None:
    """Lines, if the first of them is a whole object and something comes after it."""
    line, end, rest = start[:FIRST_LINE_BYTES].partition(b"\n")
    if not end:
        return Framing.WHOLE if len(start) >= FIRST_LINE_BYTES else None
    if not _is_json(line):
        return Framing.WHOLE
    return Framing.LINES if rest.strip() else None


def _is_json(line: bytes) -> bool:
    try:
        wirejson.decode(line)
    except wirejson.NotJSON:
        return False
    return True


def _sse_or_whole(start: bytes) -> Framing | None:
    if start.startswith(_FIELDS):
        return Framing.SSE
    return None if any(field.startswith(start) for field in _FIELDS) else Framing.WHOLE


# What the first line of server-sent events begins with.
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")

_CONTENT_TYPES = {
    "text/event-stream": Framing.SSE,
    "application/vnd.amazon.eventstream": Framing.AWS,
    "application/x-ndjson": Framing.LINES,  # Ollama
    "application/ndjson": Framing.LINES,
    "application/jsonl": Framing.LINES,
    "application/stream+json": Framing.LINES,  # Cohere's first version
}

PARSERS: dict[Framing, Callable[[], EventParser]] = {
    Framing.SSE: sse.Parser,
    Framing.LINES: ndjson.Parser,
    Framing.AWS: eventstream.Parser,
}
