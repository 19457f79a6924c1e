"""Reads JSON that strangers wrote: splits without decoding, looks without trusting."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec


class _Typed(msgspec.Struct):
    type: str = ""


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_typed = msgspec.json.Decoder(_Typed)
_sorted = msgspec.json.Encoder(order="sorted")


# What msgspec says of bytes that it cannot read; the stdlib can read some of them.
_UNREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNWRITTEN = (UnicodeEncodeError, TypeError, msgspec.MsgspecError, RecursionError)


class NotJSON(ValueError):
    """The bytes are not JSON of the expected shape."""


MOST = 1 << 63  # of anything: SQLite has no larger numbers


def decode(raw: bytes) -> object:
    """Read one JSON value; lone surrogates, which msgspec refuses, are read by the stdlib."""
    try:
        return _any.decode(raw)
    except _UNREAD:
        return _decode_leniently(raw)


def members(raw: bytes) -> dict[str, bytes]:
    """Split an object into its members, each still JSON, in the order sent."""
    try:
        return {name: bytes(value) for name, value in _members.decode(raw).items()}
    except _UNREAD:
        value = _decode_leniently(raw)
        if not isinstance(value, dict):
            raise NotJSON(f"expected a JSON object, got {type(value).__name__}") from None
        return {str(name): json.dumps(item).encode() for name, item in value.items()}


def items(raw: bytes) -> list[bytes]:
    """Split an array into its items, each still JSON."""
    try:
        return [bytes(value) for value in _items.decode(raw)]
    except _UNREAD:
        value = _decode_leniently(raw)
        if not isinstance(value, list):
            raise NotJSON(f"expected a JSON array, got {type(value).__name__}") from None
        return [json.dumps(item).encode() for item in value]


def type_of(raw: bytes) -> str:
    """The member `type` of an object; the rest is passed over. Raises NotJSON."""
    try:
        return _typed.decode(raw).type
    except _UNREAD:
        return string(at(_decode_leniently(raw), "type"))


def encode(value: object) -> bytes:
    """Write compact JSON; raises NotJSON where the value is nested too deeply."""
    try:
        return msgspec.json.encode(value)
    except _UNWRITTEN:
        return _encode_leniently(value, is_sorted=False)


def encode_sorted(value: object) -> bytes:
    """Write JSON in which equal values have equal bytes: keys sorted, no spaces; as `encode`."""
    try:
        return _sorted.encode(value)
    except _UNWRITTEN:
        return _encode_leniently(value, is_sorted=True)


def _encode_leniently(value: object, *, is_sorted: bool) -> bytes:
    """Write what msgspec cannot write: lone surrogates are escaped."""
    try:
        text = json.dumps(value, separators=(",", ":"), sort_keys=is_sorted, default=str)
    except RecursionError:
        raise NotJSON("expected a value that is not nested too deeply") from None
    return text.encode()


def _decode_leniently(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise NotJSON(f"expected JSON, got {len(raw)} bytes that are none: {error}") from None


def decode_or_text(text: str) -> object:
    """The value that a text of JSON stands for; the text itself where it was cut off or is none."""
    try:
        return decode(text.encode("utf-8", "surrogatepass"))
    except NotJSON:
        return text


def mapping(value: object) -> Mapping[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: object) -> str:
    """The value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """The value if it is a whole number of something, else None (unknown)."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST
    return value if is_count else None  # type: ignore[return-value]


def at(value: object, *path: str) -> object:
    """The value found by following member names; None where the way ends."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
