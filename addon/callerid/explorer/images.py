"""Images that were said: found in the JSON of a message, however its dialect holds them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple

from callerid.wire import wirejson

TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # no SVG: that can run scripts
_DEEPEST = 12
_NAMED = ("media_type", "mimeType", "mime_type")  # Anthropic, Gemini


class Image(NamedTuple):
    """An image, and what it says that it is."""

    content_type: str
    content: bytes


def images(raw: bytes) -> list[Image]:
    """The images in a message, in their order; none of them is of another type than TYPES."""
    return list(_images(wirejson.decode(raw), 0))


def _images(value: object, depth: int) -> Iterator[Image]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str) and value.startswith("data:image/"):
        head, _, data = value[5:].partition(",")
        yield from _image(head.removesuffix(";base64"), data)
    members = wirejson.mapping(value)
    kind = next((members[name] for name in _NAMED if name in members), None)
    if isinstance(kind, str) and isinstance(said := members.get("data"), str):
        yield from _image(kind, said)
        return
    for item in (*members.values(), *wirejson.sequence(value)):
        yield from _images(item, depth + 1)


def _image(content_type: str, data: str) -> Iterator[Image]:
    if content_type in TYPES:
        try:
            yield Image(content_type, base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            return
