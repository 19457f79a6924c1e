"""A collector on loopback: takes OTLP over HTTP as the protocol has it, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Got(NamedTuple):
    """A span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    seconds: float
    attributes: dict[str, Any]


class Collector:
    """Runs while the `with` block lasts; answers `status`."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Got] = []
        self.headers: list[dict[str, str]] = []
        self.schemas: set[str] = set()
        self.services: set[str] = set()
        self.status = status
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, name: str) -> list[Got]:
        return [span for span in self.spans if span.name == name]

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services.add(_plain(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self.schemas.add(scope.schema_url)
                self.spans += map(_got, scope.spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.headers.append({name.lower(): v for name, v in self.headers.items()})
                is_right = self.path == "/v1/traces" and collector.status == 200
                if is_right and self.headers["content-type"] == "application/x-protobuf":
                    collector.take(body)
                self.send_response(collector.status if self.path == "/v1/traces" else 404)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _got(span: Any) -> Got:
    nanoseconds = span.end_time_unix_nano - span.start_time_unix_nano
    return Got(
        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.kind,
        span.status.code, nanoseconds / 1e9, _plain(span.attributes),
    )  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)
