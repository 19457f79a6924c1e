"""A recorded call, from wherever it was recorded, and what may be wrong with one."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from callerid.archive.calls import CallFacts
from callerid.scopes import Scopes
from callerid.settings.load import load
from callerid.traces.database import Recorded
from callerid.turn import Client, HeaderList, Request
from callerid.wire import wirejson

_PAIRS = list[tuple[object, object]]


class BadLine(ValueError):
    """A recorded call that cannot be read; the message says what was expected and what came."""


class RecordedCall(msgspec.Struct, frozen=True):
    """A call with its reply, as recorded.

    `t` and `t_response` are seconds: when the request came, and when the reply was known. `reply`
    is the reply's body, unpacked, None where it never came; `replies` is the JSON of its messages,
    where those are all there is. A call out of a traces.db brings its `record` instead, and one
    that we have exported what was `told` of it.
    """

    id: str
    t: float
    t_response: float
    request: Request
    status: int
    reply: bytes | None = None
    record: Recorded | None = None
    told: CallFacts | None = None
    replies: tuple[bytes, ...] = ()
    reply_headers: HeaderList = ()
    call_id: str = ""  # under which callerid has recorded it already
    response_id: str = ""  # the reply's, by which the call may be on record as the proxy saw it

    @classmethod
    def of(cls, record: Recorded) -> RecordedCall:
        """A call out of a traces.db."""
        return cls(
            id=record.id,
            t=record.started_at,
            t_response=record.ended_at or record.started_at,
            request=record.request,
            status=record.status,
            record=record,
        )


class Line(NamedTuple):
    """What one line (or entry) of a file holds: a call, or the reason why there is none."""

    number: int
    call: RecordedCall | None
    trouble: str = ""


def encoded(body: object) -> bytes:
    """A body as JSON bytes."""
    return wirejson.encode(body)


def headers_of(value: object) -> HeaderList:
    """Headers, of an object or of a list of pairs; raises BadLine."""
    try:
        pairs = msgspec.convert(list(value.items()) if isinstance(value, dict) else value, _PAIRS)
    except msgspec.ValidationError:
        raise BadLine("headers: expected an object, or a list of [name, value]") from None
    return tuple((str(name), str(text)) for name, text in pairs)


def request(method: str, url: str, headers: HeaderList, body: bytes) -> Request:
    """A request as the proxy would have seen it; recordings know no connections. Raises BadLine."""
    try:
        parts = urlsplit(url)
        port = parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError as error:
        raise BadLine(f"url: expected one as https://HOST/PATH, and {error}") from None
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    found = {name.lower(): value for name, value in headers}
    scope = _scopes().of(headers, path, "")
    client = Client(scope=scope, user_agent=found.get("user-agent", ""))
    return Request(method, parts.scheme, parts.hostname or "", port, path, headers, body, client)


@cache
def _scopes() -> Scopes:
    return Scopes(load().credentials, b"")
