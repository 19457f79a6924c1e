"""Calls that we have exported, as JSON lines or HAR; and HAR of others."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import IO

import msgspec

from callerid.archive.calls import CallFacts
from callerid.exports.told import carried_back, told_back
from callerid.recordings.recorded import BadLine, Line, RecordedCall, headers_of, request
from callerid.turn import Client, HeaderList
from callerid.wire import wirejson

_OURS_NAME = "callerid"
_OURS = b'"callerid":{'


def from_our_line(line: bytes) -> RecordedCall | None:
    """The call in a line of `callerid export`, with its bytes; None where it is none of ours."""
    if _OURS not in line:
        return None
    entry = wirejson.members(line)
    facts = told_back(wirejson.decode(entry.get(_OURS_NAME, b"null")))
    if facts is None:
        return None
    asked, answered = (wirejson.members(entry.get(name, b"{}")) for name in ("request", "response"))
    headers = headers_of(wirejson.decode(asked.get("headers", b"[]")))
    back = headers_of(wirejson.decode(answered.get("headers", b"[]")))
    replies = tuple(wirejson.items(answered.get("messages", b"[]")))
    found = _our_call(facts, headers, carried_back(asked), carried_back(answered), replies)
    return msgspec.structs.replace(found, reply_headers=back)


def _our_call(
    facts: CallFacts, headers: HeaderList, body: bytes | None, reply: bytes | None,
    replies: tuple[bytes, ...] = (),
) -> RecordedCall:  # fmt: skip
    """A call that we have exported, by what was told of it and its bodies."""
    asked = request(facts.method, facts.url, headers, body or b"")
    client = Client(
        facts.client_scope or "", facts.client_connection or "", facts.client_address or "",
        facts.user_agent or asked.client.user_agent,
    )  # fmt: skip
    return RecordedCall(
        id=facts.id,
        t=facts.started_at,
        t_response=facts.started_at if facts.ended_at is None else facts.ended_at,
        request=msgspec.structs.replace(asked, client=client),
        status=facts.status or 0,
        reply=reply,
        told=facts,
        replies=replies,
        call_id=facts.id,
    )


def from_har(file: IO[bytes]) -> Iterator[Line]:
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
    headers, back = (_har_headers(at(entry, name)) for name in ("request", "response"))
    url, method = string(at(entry, "request", "url")), string(at(entry, "request", "method"))
    body = string(at(entry, "request", "postData", "text")).encode("utf-8", "surrogatepass")
    reply = _har_content(at(entry, "response", "content"))
    facts = told_back(at(entry, f"_{_OURS_NAME}"))
    if facts is not None:
        found = _our_call(facts, headers, body, reply)
        return msgspec.structs.replace(found, reply_headers=back)
    return RecordedCall(
        id=str(number),
        t=began,
        t_response=began + max(took, 0),
        request=request(method, url, headers, body),
        status=int(str(at(entry, "response", "status") or 0)),
        reply=reply or None,
        reply_headers=back,
    )


def _har_headers(message: object) -> HeaderList:
    pairs = wirejson.sequence(wirejson.at(message, "headers"))
    return tuple(
        (wirejson.string(wirejson.at(pair, "name")), wirejson.string(wirejson.at(pair, "value")))
        for pair in pairs
    )


def _har_content(content: object) -> bytes | None:
    text = wirejson.at(content, "text")
    if not isinstance(text, str):
        return None
    if wirejson.at(content, "encoding") == "base64":
        return base64.b64decode(text)
    return text.encode("utf-8", "surrogatepass")
