"""What exports tell of a call beside its bodies, and bodies as JSON can carry them; and back.

Whoever reads our own lines or HAR again (recordings/) finds whose call it was, and the bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from callerid.archive.calls import CallFacts

Carried = dict[str, object]

# Told elsewhere in an export, or part of the body.
_ELSEWHERE = ("request_headers", "reply_headers", "members")
_MOST_MILLISECONDS = 3


def told(facts: CallFacts) -> dict[str, object]:
    """What is known of a call, as JSON has it; what is unknown is left out."""
    known: dict[str, object] = msgspec.to_builtins(facts)
    return {
        name: value for name, value in known.items() if value is not None and name not in _ELSEWHERE
    }


def told_back(value: object) -> CallFacts | None:
    """The call that `told` told of; None where it is none of ours."""
    try:
        return msgspec.convert(value, CallFacts)
    except msgspec.ValidationError:
        return None


def carried(body: bytes | None) -> Carried:
    """A body as members of a JSON object: `body` where it is JSON, else `text` or `base64`.

    JSON that does not fit on one line is in `body` without its line breaks, and as it was in
    `text`. Nothing where there is no body on record.
    """
    if body is None:
        return {}
    text = _text(body)
    if text is None:
        return {"base64": base64.b64encode(body).decode()}
    if not _is_json(text):
        return {"text": text}
    if b"\n" in body or b"\r" in body:
        return {"body": msgspec.Raw(msgspec.json.format(body, indent=-1)), "text": text}
    alone = body.strip()
    return {"body": msgspec.Raw(alone)} if alone == body else {"text": text}


def carried_back(members: Mapping[str, bytes]) -> bytes | None:
    """The bytes of a body that was `carried`, of an object's members; None where there are none."""
    try:
        if "text" in members:
            return msgspec.json.decode(members["text"], type=str).encode("utf-8", "surrogatepass")
        if "base64" in members:
            return base64.b64decode(msgspec.json.decode(members["base64"], type=str))
    except (msgspec.MsgspecError, binascii.Error):
        return None
    return members.get("body")


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _is_json(text: str) -> bool:
    """Whether every reader takes it for JSON: without NaN, which Python's own lets pass."""
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return _is_odd_json(text)
    return True


def _is_odd_json(text: str) -> bool:
    """Halves of characters are JSON too, though msgspec refuses them."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return "\n" not in text and "\r" not in text


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def moment(at: float) -> str:
    """A time as ISO 8601 has it, in UTC, to the microsecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def milliseconds(since: float, at: float | None) -> float | None:
    """From one time to another, in milliseconds; None where it is not known."""
    if at is None or not math.isfinite(at):
        return None
    return round(max(0.0, at - since) * 1000, _MOST_MILLISECONDS)
