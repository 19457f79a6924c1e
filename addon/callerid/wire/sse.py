"""Server-sent events, parsed incrementally: bytes in, events out, nothing else.

The rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end
in LF, CR or CRLF; a leading byte order mark is dropped; a line that starts with a colon is a
comment; the data lines of one event are joined by LF; an empty line ends the event; an event cut
off by the end of the stream is dropped, unless `close` is asked for it.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_BYTES = 64 << 20  # no provider comes near; a stream without line ends must not grow ours


class Event(NamedTuple):
    """One event; `name` is "" where the stream gave none."""

    name: str
    data: bytes


class Parser:
    """Collects bytes until they are events."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._name = ""
        self._data: list[bytes] = []
        self._at_start = True
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they completed."""
        self._buffer += chunk
        events: list[Event] = []
        while (line := self._next_line(is_end=False)) is not None:
            self._take(line, events)
        if len(self._buffer) + self._size > MAX_EVENT_BYTES:
            raise ValueError(f"expected events of at most {MAX_EVENT_BYTES} bytes, got a larger")
        return events

    def close(self) -> list[Event]:
        """Say that the stream has ended; return the event that it cut off, if there is one."""
        events: list[Event] = []
        while (line := self._next_line(is_end=True)) is not None:
            self._take(line, events)
        self._take(b"", events)
        return events

    def _next_line(self, *, is_end: bool) -> bytes | None:
        buffer = self._buffer
        if self._at_start and (len(buffer) >= 3 or is_end):
            self._at_start = False
            if buffer.startswith(b"\xef\xbb\xbf"):
                del buffer[:3]
        if self._at_start and buffer and b"\xef\xbb\xbf".startswith(bytes(buffer)):
            return None  # the start of a byte order mark, perhaps
        line_feed = buffer.find(b"\n", self._scanned)
        carriage = buffer.find(b"\r", self._scanned, line_feed if line_feed >= 0 else len(buffer))
        if carriage >= 0 and (carriage + 1 < len(buffer) or is_end):
            end, skip = carriage, 2 if buffer[carriage + 1 : carriage + 2] == b"\n" else 1
        elif carriage < 0 and line_feed >= 0:
            end, skip = line_feed, 1
        elif is_end and buffer:
            end, skip = len(buffer), 0
        else:
            self._scanned = carriage if carriage >= 0 else len(buffer)
            return None
        line = bytes(buffer[:end])
        del buffer[: end + skip]
        self._scanned = 0
        self._at_start = False
        return line

    def _take(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._name, b"\n".join(self._data)))
            self._name, self._data, self._size = "", [], 0
            return
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
