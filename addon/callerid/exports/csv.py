"""CSV: one row a call, without what was said, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlite_utils import Database

from callerid.archive.calls import CallFacts
from callerid.exports.told import milliseconds, moment

_COLUMNS: dict[str, Callable[[CallFacts], Any]] = {
    "timestamp": lambda facts: moment(facts.started_at),
    "id": lambda facts: facts.id,
    "session_id": lambda facts: facts.session_id,
    "parent_session_id": lambda facts: facts.parent_session_id,
    "root_session_id": lambda facts: facts.root_session_id,
    "relation": lambda facts: facts.relation,
    "agent": lambda facts: facts.agent,
    "agent_id": lambda facts: facts.agent_id,
    "client": lambda facts: facts.client,
    "kind": lambda facts: facts.kind,
    "because": lambda facts: facts.because,
    "confidence": lambda facts: facts.confidence,
    "provider": lambda facts: facts.provider_name,
    "dialect": lambda facts: facts.dialect,
    "request_model": lambda facts: facts.request_model,
    "response_model": lambda facts: facts.response_model,
    "state": lambda facts: facts.state,
    "status": lambda facts: facts.status,
    "error_type": lambda facts: facts.error_type,
    "finish_reason": lambda facts: facts.finish_reason,
    "is_stream": lambda facts: int(facts.is_stream),
    "duration_ms": lambda facts: milliseconds(facts.started_at, facts.ended_at),
    "first_byte_ms": lambda facts: milliseconds(facts.started_at, facts.first_byte_at),
    "input_tokens": lambda facts: facts.input_tokens,
    "output_tokens": lambda facts: facts.output_tokens,
    "cache_read_input_tokens": lambda facts: facts.cache_read_input_tokens,
    "cache_creation_input_tokens": lambda facts: facts.cache_creation_input_tokens,
    "reasoning_tokens": lambda facts: facts.reasoning_tokens,
    "cost_usd": lambda facts: facts.cost_usd,
    "request_bytes": lambda facts: facts.request_bytes,
    "reply_bytes": lambda facts: facts.reply_bytes,
    "host": lambda facts: facts.host,
    "session_name": lambda facts: facts.session_name,
}
COLUMNS = tuple(_COLUMNS)


def rows(database: Database, calls: Iterable[CallFacts]) -> Iterator[bytes]:
    """The names of the columns, then a row for each call; what is unknown is empty."""
    yield _row(COLUMNS)
    for facts in calls:
        yield _row([value(facts) for value in _COLUMNS.values()])


def _row(values: Iterable[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().encode("utf-8", "replace")
