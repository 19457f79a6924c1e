"""Reads mitmproxy's own flow files (`mitmdump -w FILE`) as recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from mitmproxy import exceptions, http
from mitmproxy.io import FlowReader

from callerid.proxy.flows import said_by_client
from callerid.recordings.recorded import BadLine, RecordedCall, request
from callerid.wire import bodies


def read_flows(file: IO[bytes]) -> Iterator[RecordedCall]:
    """The HTTP flows of a file, in their order; raises BadLine where the file is none."""
    try:
        for number, flow in enumerate(FlowReader(cast(BinaryIO, file)).stream(), 1):
            if isinstance(flow, http.HTTPFlow) and flow.request.raw_content is not None:
                yield _recorded(flow, number)
    except exceptions.FlowReadException as error:
        raise BadLine(f"expected JSON lines, HAR, traces.db or a flow file: {error}") from None


def _recorded(flow: http.HTTPFlow, number: int) -> RecordedCall:
    asked = flow.request
    response = flow.response
    began = asked.timestamp_start
    ended = response.timestamp_end if response and response.timestamp_end else began
    ours = str(flow.metadata.get("callerid.call") or "")
    return RecordedCall(
        id=ours or str(number),
        t=began,
        t_response=ended,
        request=request(asked.method, asked.url, said_by_client(flow), _body(asked)),
        status=response.status_code if response else 0,
        reply=_body(response) if response else None,
        call_id=ours,
    )


def _body(message: http.Message) -> bytes:
    raw = message.raw_content or b""
    try:
        return bodies.unpack(message.headers.get("content-encoding", ""), raw)
    except bodies.BadEncoding:
        return raw
