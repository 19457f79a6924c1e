"""HTTP Archive 1.2, for browsers' developer tools and what else reads it.

http://www.softwareishard.com/blog/har-12-spec/. Names that begin with _ are ours, as the format
allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import msgspec
from sqlite_utils import Database

from callerid import __version__
from callerid.archive.calls import CallFacts
from callerid.exports.told import carried, milliseconds, moment, told
from callerid.traces import bodies

_UNKNOWN = -1  # the format's own word for it


def pieces(database: Database, calls: Iterable[CallFacts]) -> Iterator[bytes]:
    """The file, piece by piece; raises NotJSON and NotPacked where a record is broken."""
    creator = msgspec.json.encode({"name": "callerid", "version": __version__})
    yield b'{"log":{"version":"1.2","creator":' + creator + b',"entries":['
    comma = b"\n"
    for facts in calls:
        yield comma + msgspec.json.encode(_entry(database, facts))
        comma = b",\n"
    yield b"\n]}}\n"


def _entry(database: Database, facts: CallFacts) -> dict[str, object]:
    whole = milliseconds(facts.started_at, facts.ended_at)
    waited = milliseconds(facts.started_at, facts.first_byte_at)
    waited = whole if waited is None else waited
    return {
        "startedDateTime": moment(facts.started_at),
        "time": whole or 0,
        "request": _request(facts, bodies.request_body(database, facts.id).content),
        "response": _response(facts, bodies.reply_body(database, facts.id).content),
        "cache": {},
        "timings": {
            "send": 0,
            "wait": waited or 0,
            "receive": round(max(0.0, (whole or 0) - (waited or 0)), 3),
        },
        "_callerid": told(facts),
    }


def _request(facts: CallFacts, body: bytes | None) -> dict[str, object]:
    query = parse_qsl(urlsplit(facts.path).query, keep_blank_values=True)
    content = body or b""
    return {
        "method": facts.method,
        "url": facts.url,
        "httpVersion": "unknown",
        "headers": _named(bodies.pairs(facts.request_headers)),
        "queryString": _named(query),
        "cookies": [],
        "headersSize": _UNKNOWN,
        "bodySize": len(content),
        "postData": {
            "mimeType": facts.header("content-type") or "application/json",
            "text": content.decode("utf-8", "replace"),
        },
    }


def _response(facts: CallFacts, body: bytes | None) -> dict[str, object]:
    packed = carried(body)
    is_bytes = "base64" in packed
    headers = bodies.pairs(facts.reply_headers or "[]")
    said = next((value for name, value in headers if name.lower() == "content-type"), "")
    kind = said or _type_of(packed)
    content: dict[str, object] = {"size": len(body or b""), "mimeType": kind}
    if body is not None:
        content["text"] = packed["base64"] if is_bytes else body.decode()
    if is_bytes:
        content["encoding"] = "base64"
    status = facts.status or 0
    return {
        "status": status,
        "statusText": _phrase(status),
        "httpVersion": "unknown",
        "headers": _named(headers),
        "cookies": [],
        "content": content,
        "redirectURL": "",
        "headersSize": _UNKNOWN,
        "bodySize": len(body) if body is not None else _UNKNOWN,
    }


def _type_of(packed: dict[str, object]) -> str:
    """What a body is, as far as the body says it, where no header does."""
    if "body" in packed:
        return "application/json"
    if "base64" in packed:
        return "application/octet-stream"
    text = str(packed.get("text", ""))
    return "text/event-stream" if text.lstrip().startswith(_EVENTS) else "text/plain"


_EVENTS = ("event:", "data:", "id:", "retry:", ":")


def _named(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
