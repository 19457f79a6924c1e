"""AWS event streams, parsed incrementally: bytes in, events out, nothing else.

A frame (https://smithy.io/2.0/aws/amazon-eventstream.html) is big-endian: the length of all of it,
the length of its headers, a CRC-32 of these two, headers, payload, a CRC-32 of all before. What a
frame is stands in its headers: `:message-type` is `event` (named by `:event-type`), `exception`
(`:exception-type`) or `error` (`:error-code`, `:error-message`).

Bedrock's InvokeModelWithResponseStream packs the model's own event into a `chunk` once more, as
`{"bytes": BASE64}`; it is unpacked here
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_PayloadPart.html).
"""

from __future__ import annotations

import binascii
import zlib

from callerid.wire import wirejson
from callerid.wire.sse import Event

PRELUDE_BYTES = 12
OVERHEAD_BYTES = 16  # the prelude and the checksum at the end
MAX_FRAME_BYTES = 24 << 20  # the bound of AWS's own parser (awslabs/aws-c-event-stream)
ERROR = "error"

# How long a header's value is, by its type; those of 6 (bytes) and 7 (text) begin with a length.
_FIXED_LENGTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class Parser:
    """Collects bytes until they are frames.

    Where the lengths of a frame cannot be right nothing after it can be read: it is given as one
    event that is no JSON, and the rest is let go.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_lost = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they completed."""
        events: list[Event] = []
        if not self._is_lost:
            self._buffer += chunk
            while (frame := self._next_frame()) is not None:
                events.append(_event(frame))
        return events

    def close(self) -> list[Event]:
        """Say that the stream has ended; a frame that it cut off is of no use."""
        return []

    def _next_frame(self) -> bytes | None:
        if len(self._buffer) < PRELUDE_BYTES:
            return None
        length = frame_length(bytes(self._buffer[:PRELUDE_BYTES]))
        if not length:
            self._is_lost = True
            self._buffer.clear()
            return b""
        if len(self._buffer) < length:
            return None
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return frame


def frame_length(prelude: bytes) -> int:
    """How long the frame is that begins with twelve bytes; 0 where they begin none."""
    length, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
    is_right = zlib.crc32(prelude[:8]) == int.from_bytes(prelude[8:PRELUDE_BYTES])
    return length if is_right and OVERHEAD_BYTES + headers <= length <= MAX_FRAME_BYTES else 0


def _event(frame: bytes) -> Event:
    end = PRELUDE_BYTES + int.from_bytes(frame[4:8])
    headers, payload = _headers(frame[PRELUDE_BYTES:end]), frame[end:-4]
    if headers.get(":message-type") in ("exception", "error"):
        return _error(headers, payload)
    name = headers.get(":event-type", "")
    return Event("", _unpacked(payload)) if name == "chunk" else Event(name, payload)


def _headers(raw: bytes) -> dict[str, str]:
    """The headers that are text; what comes after one that cannot be read is left out."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(raw):
        name_end = at + 1 + raw[at]
        type = raw[name_end] if name_end < len(raw) else -1
        start = name_end + 1
        if type in (_BYTES, _TEXT):
            length = int.from_bytes(raw[start : start + 2])
            start += 2
        elif (length := _FIXED_LENGTHS.get(type, -1)) < 0:
            break
        if type == _TEXT:
            name = raw[at + 1 : name_end].decode("utf-8", "replace")
            headers[name] = raw[start : start + length].decode("utf-8", "replace")
        at = start + length
    return headers


def _error(headers: dict[str, str], payload: bytes) -> Event:
    """An error as Anthropic sends one in a stream, which other dialects read as well."""
    word = headers.get(":exception-type") or headers.get(":error-code") or ERROR
    said = wirejson.decode_or_text(payload.decode("utf-8", "replace"))
    message = wirejson.string(wirejson.at(said, "message")) or headers.get(":error-message", "")
    error = {"type": ERROR, "error": {"type": word, "message": message}}
    return Event(ERROR, wirejson.encode(error))


def _unpacked(payload: bytes) -> bytes:
    """What a chunk holds; the payload itself where it holds nothing (it is read as it is)."""
    try:
        packed = wirejson.string(wirejson.at(wirejson.decode(payload), "bytes"))
        return binascii.a2b_base64(packed) if packed else payload
    except ValueError:
        return payload
