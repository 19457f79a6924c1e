"""Recorded calls, from wherever they were recorded: JSON lines, HAR, mitmproxy flows, traces.db."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import msgspec

from callerid.scopes import Scopes
from callerid.settings.load import load
from callerid.traces.database import Recorded, all_calls, open_database
from callerid.turn import Client, HeaderList, Request
from callerid.wire import wirejson

# Of what is recorded by dialect alone, the path that the dialect is recognised by.
_PATHS = {
    "anthropic": "/v1/messages",
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "gemini": "/v1beta/models/model:generateContent",
    "bedrock-converse": "/model/model/converse",
    "cohere": "/v2/chat",
    "cohere-v1": "/v1/chat",
    "ollama": "/api/chat",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
_PAIRS = list[tuple[object, object]]
_SQLITE = b"SQLite format 3\0"


class BadLine(ValueError):
    """A recorded call that cannot be read; the message says what was expected and what came."""


class RecordedCall(msgspec.Struct, frozen=True):
    """A call with its reply, as recorded.

    `t` and `t_response` are seconds: when the request came, and when the reply was known. `reply`
    is the reply's body, unpacked, None where it never came. A call out of a traces.db brings its
    `record` instead.
    """

    id: str
    t: float
    t_response: float
    request: Request
    status: int
    reply: bytes | None = None
    record: Recorded | None = None


class Line(NamedTuple):
    """What one line (or entry) of a file holds: a call, or the reason why there is none."""

    number: int
    call: RecordedCall | None
    trouble: str = ""


def read(path: Path, read_flows: Callable[[IO[bytes]], Iterator[RecordedCall]]) -> Iterator[Line]:
    """The calls in a file, in the order in which they stand in it; raises OSError.

    The kind of file is told by its first bytes. `read_flows` reads mitmproxy's own format.
    """
    with _open(path) as file:
        start = file.peek(64)[:64]  # type: ignore[attr-defined]
        if start.startswith(_SQLITE):
            yield from _numbered(_from_traces(path))
        elif start.lstrip()[:1] != b"{":
            yield from _numbered(read_flows(file))
        elif b'"log"' in start:
            yield from _from_har(file)
        else:
            yield from _from_lines(file)


def _open(path: Path) -> IO[bytes]:
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rb")  # type: ignore[no-any-return, operator]


def _numbered(calls: Iterable[RecordedCall]) -> Iterator[Line]:
    for number, call in enumerate(calls, 1):
        yield Line(number, call)


def _from_lines(file: IO[bytes]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield Line(number, _from_line(wirejson.decode(line), number))
        except (BadLine, wirejson.NotJSON) as error:
            yield Line(number, None, str(error))


def _from_line(entry: object, number: int) -> RecordedCall:
    if not isinstance(entry, dict):
        raise BadLine(f"expected a JSON object, got {type(entry).__name__}")
    t = _seconds(entry, "t", None)
    body = entry.get("request")
    if not isinstance(body, dict):
        raise BadLine(f"request: expected an object, got {type(body).__name__}")
    address = _address(entry)
    headers = _headers(entry.get("headers", ()))
    return RecordedCall(
        id=str(entry.get("id") or number),
        t=t,
        t_response=_seconds(entry, "t_response", t),
        request=request(str(entry.get("method") or "POST"), address, headers, encoded(body)),
        status=_status(entry),
        reply=_reply(entry.get("response")),
    )


def _seconds(entry: dict[str, object], name: str, default: float | None) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLine(f"{name}: expected a number of seconds, got {json.dumps(value)[:40]}")
    return float(value)


def _status(entry: dict[str, object]) -> int:
    value = entry.get("status", 200)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadLine(f"status: expected a whole number, got {json.dumps(value)[:40]}")
    return value


def _address(entry: dict[str, object]) -> str:
    if url := entry.get("url"):
        return str(url)
    provider = str(entry.get("provider") or "")
    if provider not in _PATHS:
        raise BadLine(f"expected url, or provider as one of {', '.join(_PATHS)}; got {provider!r}")
    return "https://" + provider + _PATHS[provider]


def _headers(value: object) -> HeaderList:
    try:
        pairs = msgspec.convert(list(value.items()) if isinstance(value, dict) else value, _PAIRS)
    except msgspec.ValidationError:
        raise BadLine("headers: expected an object, or a list of [name, value]") from None
    return tuple((str(name), str(text)) for name, text in pairs)


def encoded(body: object) -> bytes:
    """A body as JSON bytes."""
    return wirejson.encode(body)


def _reply(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else encoded(value)


def request(method: str, url: str, headers: HeaderList, body: bytes) -> Request:
    """A request as the proxy would have seen it; recordings know no connections."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    found = {name.lower(): value for name, value in headers}
    scope = _scopes().of(headers, path, "")
    client = Client(scope=scope, user_agent=found.get("user-agent", ""))
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return Request(method, parts.scheme, parts.hostname or "", port, path, headers, body, client)


@cache
def _scopes() -> Scopes:
    return Scopes(load().credentials, b"")


def _from_har(file: IO[bytes]) -> Iterator[Line]:
    """HTTP Archive 1.2: http://www.softwareishard.com/blog/har-12-spec/."""
    entries = wirejson.sequence(wirejson.at(wirejson.decode(file.read()), "log", "entries"))
    for number, entry in enumerate(entries, 1):
        try:
            yield Line(number, _from_har_entry(entry, number))
        except (BadLine, ValueError, TypeError) as error:
            yield Line(number, None, f"not an entry of a HAR: {error}")


def _from_har_entry(entry: object, number: int) -> RecordedCall:
    at, string = wirejson.at, wirejson.string
    began = datetime.fromisoformat(string(at(entry, "startedDateTime"))).timestamp()
    took = float(str(at(entry, "time") or 0)) / 1000
    headers = tuple(
        (string(at(pair, "name")), string(at(pair, "value")))
        for pair in wirejson.sequence(at(entry, "request", "headers"))
    )
    url, method = string(at(entry, "request", "url")), string(at(entry, "request", "method"))
    body = string(at(entry, "request", "postData", "text")).encode()
    return RecordedCall(
        id=str(number),
        t=began,
        t_response=began + max(took, 0),
        request=request(method, url, headers, body),
        status=int(str(at(entry, "response", "status") or 0)),
        reply=string(at(entry, "response", "content", "text")).encode() or None,
    )


def _from_traces(path: Path) -> Iterator[RecordedCall]:
    database = open_database(path)
    try:
        for record in all_calls(database):
            yield RecordedCall(
                id=record.id,
                t=record.started_at,
                t_response=record.ended_at or record.started_at,
                request=record.request,
                status=record.status,
                record=record,
            )
    finally:
        database.conn.close()
