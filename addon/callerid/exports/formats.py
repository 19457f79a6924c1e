"""The formats of files: each with what writes it, for calls or for whole sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sqlite_utils import Database

from callerid.archive.calls import CallFacts
from callerid.exports import csv, dynamo, har, jsonl, openai_chat, otlp
from callerid.exports.spans import Style

Step = Callable[[Iterable[CallFacts]], Iterable[CallFacts]]


class Format(NamedTuple):
    """A format: what it is, and what writes calls in it, piece by piece.

    `conventions` are those of spans, which may also be sent to a collector; "" is no spans.
    `is_of_sessions` says that a piece is a session, and not a call.
    """

    words: str
    write: Callable[[Database, Iterable[CallFacts], Style], Iterator[bytes]]
    conventions: str = ""
    is_of_sessions: bool = False


def _spans(database: Database, calls: Iterable[CallFacts], style: Style) -> Iterator[bytes]:
    return otlp.lines(otlp.of_calls(database, calls, style))


def _plain(
    write: Callable[[Database, Iterable[CallFacts]], Iterator[bytes]],
) -> Callable[[Database, Iterable[CallFacts], Style], Iterator[bytes]]:
    return lambda database, calls, _: write(database, calls)


def _chats(database: Database, calls: Iterable[CallFacts]) -> Iterator[bytes]:
    return openai_chat.lines(database, _sessions(calls))


def _sessions(calls: Iterable[CallFacts]) -> Iterator[str]:
    """The sessions of some calls, each once, in the order in which they began."""
    seen: set[str] = set()
    for facts in calls:
        if facts.session_id and facts.session_id not in seen:
            seen.add(facts.session_id)
            yield facts.session_id


FORMATS = {
    "jsonl": Format("one JSON object a call, with its bodies", _plain(jsonl.lines)),
    "har": Format("HTTP Archive 1.2, for developer tools", _plain(har.pieces)),
    "openai-chat": Format(
        "one conversation a session, as fine-tuning takes it", _plain(_chats), is_of_sessions=True
    ),
    "csv": Format("one row a call, without what was said", _plain(csv.rows)),
    "dynamo": Format("Dynamo's request trace, for its replay", _plain(dynamo.rows)),
    "otlp": Format("one span a call, by OpenTelemetry's conventions", _spans, "gen_ai"),
    "openinference": Format("the same by OpenInference's, for Phoenix", _spans, "openinference"),
}
