"""Spans as OTLP: sent to a collector over HTTP, or as the lines of JSON that collectors read.

https://opentelemetry.io/docs/specs/otlp/. The SDK of OpenTelemetry is loaded when the first span is
made: it takes a seventh of a second.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlite_utils import Database

from callerid import __version__
from callerid.archive import calls as archive
from callerid.archive.calls import CallFacts
from callerid.exports import spans
from callerid.exports.gen_ai import SCHEMA
from callerid.exports.spans import Span, Style

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

BATCH = 200  # spans a request
BATCH_BYTES = 4 << 20  # of what was said in them: collectors take few megabytes at once
_IDS = ("traceId", "spanId", "parentSpanId")
_MISSING = "OTLP needs OpenTelemetry's SDK: pip install 'callerid[otlp]'"


class CannotExport(Exception):
    """Spans that could not be handed over; the message says why."""


def is_there() -> bool:
    """Whether OpenTelemetry's SDK and its exporter are installed."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def of_calls(database: Database, calls: Iterable[CallFacts], style: Style) -> Iterator[Span]:
    """The spans of calls, and of each session before its first call.

    Raises NotJSON and NotPacked where a record is broken.
    """
    reader = archive.reader()
    seen: set[str] = set()
    for facts in calls:
        if facts.session_id and facts.session_id not in seen:
            session = _session(database, facts, style)
            if session is not None:
                seen.add(facts.session_id)
                yield session
        spoken = archive.spoken(database, facts, reader) if style.content else None
        yield spans.of_call(facts, spoken, style)


_TIMES = """
select min(started_at), max(coalesce(ended_at, started_at)) from calls where session_id = ?
"""


def _session(database: Database, facts: CallFacts, style: Style) -> Span | None:
    began, ended = database.execute(_TIMES, [facts.session_id]).fetchone()
    return spans.of_session(facts, began, ended, style)


def batches(found: Iterable[Span]) -> Iterator[list[Span]]:
    """Spans in as many at a time as a collector takes."""
    batch: list[Span] = []
    size = 0
    for span in found:
        more = sum(len(value) for value in span.attributes.values() if isinstance(value, str))
        if batch and (len(batch) >= BATCH or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(span)
        size += more
    if batch:
        yield batch


class Sender:
    """Sends spans to a collector; raises CannotExport where the SDK is not installed.

    Where the URL has no path it is /v1/traces, as for the SDK's own settings.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], timeout: float) -> None:
        if not is_there():
            raise CannotExport(_MISSING)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # They tell of each attempt, on whatever prints; we say what came of them, and once.
        for name in ("opentelemetry", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(
            endpoint=full_endpoint(endpoint), headers=dict(headers), timeout=timeout
        )  # fmt: skip

    def send(self, batch: Iterable[Span]) -> bool:
        """Hand spans over; False where the collector does not take them."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export(list(map(readable, batch))) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Let the connection go."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def full_endpoint(url: str) -> str:
    """The URL that spans go to."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1/traces"


def lines(found: Iterable[Span]) -> Iterator[bytes]:
    """Spans as the collector's file receiver reads them: a request as JSON a line.

    https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/. Raises CannotExport.
    """
    if not is_there():
        raise CannotExport(_MISSING)
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    for batch in batches(found):
        request = MessageToDict(
            encode_spans(list(map(readable, batch))), use_integers_for_enums=True
        )
        _in_hexadecimal(request)
        yield json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _in_hexadecimal(request: dict[str, Any]) -> None:
    """Ids as OTLP's JSON has them; protobuf's own would be base64."""
    for resource in request.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for name in _IDS:
                    if name in span:
                        span[name] = binascii.hexlify(base64.b64decode(span[name])).decode()


def readable(span: Span) -> ReadableSpan:
    """A span as the SDK's exporters take it."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    sampled = TraceFlags(TraceFlags.SAMPLED)
    trace = int(span.trace, 16)
    resource, scope = _origin()
    parent = int(span.parent, 16) if span.parent else 0
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace, int(span.id, 16), is_remote=False, trace_flags=sampled),
        parent=SpanContext(trace, parent, is_remote=True, trace_flags=sampled) if parent else None,
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind.CLIENT if span.asks else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR if span.has_failed else StatusCode.UNSET),
        start_time=round(span.began * 1e9),
        end_time=round(max(span.began, span.ended) * 1e9),
        instrumentation_scope=scope,
    )


@cache
def _origin() -> tuple[Any, Any]:
    """Who tells it: the resource and the scope of all our spans."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    resource = Resource.create({"service.name": "callerid", "service.version": __version__})
    return resource, InstrumentationScope("callerid", __version__, SCHEMA)
