"""Lines of JSON, one a call: timestamp, session_id, request, response.duration_ms, and the rest.

The shape is that of Cylestio's traces, so that what people do with those (grep for a session, jq by
session_id and response.duration_ms) works here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sqlite_utils import Database

from callerid.archive.calls import CallFacts
from callerid.exports.told import carried, milliseconds, moment, told
from callerid.traces import bodies


def lines(database: Database, calls: Iterable[CallFacts]) -> Iterator[bytes]:
    """A line for each call; raises NotJSON and NotPacked where a record is broken."""
    for facts in calls:
        yield msgspec.json.encode(_entry(database, facts)) + b"\n"


def _entry(database: Database, facts: CallFacts) -> dict[str, object]:
    request = bodies.request_body(database, facts.id)
    reply = bodies.reply_body(database, facts.id)
    return {
        "timestamp": moment(facts.started_at),
        "session_id": facts.session_id,
        "id": facts.id,
        "request": {
            "method": facts.method,
            "url": facts.url,
            "headers": bodies.pairs(facts.request_headers),
            "exactness": request.exactness,
            **carried(request.content),
        },
        "response": {
            "status": facts.status,
            "headers": bodies.pairs(facts.reply_headers or "[]"),
            "state": facts.state,
            "duration_ms": milliseconds(facts.started_at, facts.ended_at),
            "first_byte_ms": milliseconds(facts.started_at, facts.first_byte_at),
            "exactness": reply.exactness,
            "messages": [msgspec.Raw(raw) for raw in bodies.reply_messages_of(database, facts.id)],
            **carried(reply.content),
        },
        "callerid": told(facts),
    }
