"""Newline-delimited JSON, parsed incrementally: bytes in, events out, nothing else.

Each line that is not blank is one event (https://github.com/ndjson/ndjson-spec). JSON has no line
ends inside its strings, so nothing needs to be looked at but LF.
"""

from __future__ import annotations

from callerid.wire.sse import MAX_EVENT_BYTES, Event


class Parser:
    """Collects bytes until they are lines."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they completed."""
        self._buffer += chunk
        end = self._buffer.rfind(b"\n", self._scanned) + 1
        lines = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._scanned = len(self._buffer)
        if self._scanned > MAX_EVENT_BYTES:
            raise ValueError(f"expected lines of at most {MAX_EVENT_BYTES} bytes, got a longer")
        return _events(lines)

    def close(self) -> list[Event]:
        """Say that the stream has ended; return the line that has no end, if there is one."""
        line = bytes(self._buffer)
        self._buffer.clear()
        return _events(line)


def _events(lines: bytes) -> list[Event]:
    kept = (line.strip() for line in lines.split(b"\n"))
    return [Event("", line) for line in kept if line]
