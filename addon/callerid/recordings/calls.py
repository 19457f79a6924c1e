"""Recorded calls, from wherever they were recorded: JSON lines, HAR, mitmproxy flows, traces.db."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from callerid.recordings import sessionfile
from callerid.recordings.exported import from_har, from_our_line
from callerid.recordings.recorded import (
    BadLine,
    Line,
    RecordedCall,
    encoded,
    headers_of,
    request,
)
from callerid.traces.database import all_calls, open_database
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
_SQLITE = b"SQLite format 3\0"


def read(path: Path, read_flows: Callable[[IO[bytes]], Iterator[RecordedCall]]) -> Iterator[Line]:
    """The calls in a file, in the order in which they stand in it.

    Raises OSError, BadLine where the file is none of those that are read or is packed badly, and
    BadDatabase. The kind of file is told by its first bytes. `read_flows` reads mitmproxy's own
    format.
    """
    try:
        yield from _read(path, read_flows)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadLine(f"expected a whole packed file: {error}") from None
    except wirejson.NotJSON as error:
        raise BadLine(str(error)) from None


def _read(path: Path, read_flows: Callable[[IO[bytes]], Iterator[RecordedCall]]) -> Iterator[Line]:
    with _open(path) as file:
        start = file.peek(64)[:64]  # type: ignore[attr-defined]
        if start.startswith(_SQLITE):
            yield from _numbered(_from_traces(path))
        elif start.lstrip()[:1] != b"{":
            yield from _numbered(read_flows(file))
        elif b'"log"' in start:
            yield from from_har(file)
        else:
            yield from _from_lines(file)


def is_traces(path: Path) -> bool:
    """Whether a file is a traces.db (or another of SQLite's); raises OSError."""
    with _open(path) as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _open(path: Path) -> IO[bytes]:
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rb")  # type: ignore[no-any-return, operator]


def _numbered(calls: Iterable[RecordedCall]) -> Iterator[Line]:
    for number, call in enumerate(calls, 1):
        yield Line(number, call)


def _from_lines(file: IO[bytes]) -> Iterator[Line]:
    first = file.readline()
    lines = chain([first], file)
    if _is_session(first):
        yield from _from_session(lines)
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            ours = from_our_line(line)
            yield Line(number, ours or _from_line(wirejson.decode(line), number))
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
    headers = headers_of(entry.get("headers", ()))
    return RecordedCall(
        id=str(entry.get("id") or number),
        t=t,
        t_response=_seconds(entry, "t_response", t),
        request=request(str(entry.get("method") or "POST"), address, headers, encoded(body)),
        status=_status(entry),
        reply=_reply(entry.get("response")),
    )


def _is_session(line: bytes) -> bool:
    try:
        return sessionfile.is_session(wirejson.decode(line))
    except wirejson.NotJSON:
        return False


def _from_session(lines: Iterable[bytes]) -> Iterator[Line]:
    """The calls of an agent's own session file."""
    for number, told in enumerate(sessionfile.calls(_decoded(lines)), 1):
        if isinstance(told, str):
            yield Line(number, None, told)
            continue
        asked = request("POST", sessionfile.URL, told.headers, told.body)
        status = 200 if told.reply is not None else 0
        yield Line(
            number,
            RecordedCall(
                told.id, told.t, told.t_response, asked, status, told.reply,
                response_id=told.response_id,
            ),
        )  # fmt: skip


def _decoded(lines: Iterable[bytes]) -> Iterator[object]:
    """The lines that are JSON: an agent that was killed leaves half a line."""
    for line in lines:
        try:
            yield wirejson.decode(line)
        except wirejson.NotJSON:
            continue


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


def _reply(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else encoded(value)


def _from_traces(path: Path) -> Iterator[RecordedCall]:
    database = open_database(path)
    try:
        for record in all_calls(database):
            yield RecordedCall.of(record)
    finally:
        database.conn.close()
