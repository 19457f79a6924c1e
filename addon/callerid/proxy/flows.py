"""mitmproxy's flows: what they say as values, and header edits written back on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mitmproxy import connection, http

from callerid.scopes import Scopes
from callerid.stamp.stamper import Edit
from callerid.turn import Client, HeaderList, Request

# In a flow's metadata:
STAMPED = "callerid.stamped"  # the names of the headers that we set, for replays
STRIPPED = "callerid.stripped"  # the headers that were taken away, with their values

Field = Sequence[bytes]  # a header: its name, its value

# What mitmproxy says where one side ends a stream (proxy/layers/http, both versions): over HTTP/2
# and 3 it says so of either side, with the code that came.
_RESET = re.compile(r"stream (?:reset|closed) by client \((.*)\)")
_SEVERAL_A_CONNECTION = (b"h2", b"h3")
# Codes of one who serves, and will not or cannot; clients cancel or close (CANCEL, libcurl's
# STREAM_CLOSED). RFC 9113, section 7, and RFC 9114, section 8.1.
_SERVES_NOT = re.compile(
    "REFUSED_STREAM|REQUEST_REJECTED|INTERNAL_ERROR|ENHANCE_YOUR_CALM|EXCESSIVE_LOAD|"
    "HTTP_1_1_REQUIRED|VERSION_FALLBACK"
)


def request_of(flow: http.HTTPFlow, scopes: Scopes) -> Request:
    """The request of a flow, its body still packed, with the headers that the client sent.

    What was stripped of them stands at the end; of a replay, what we set is left out.
    """
    request = flow.request
    headers = said_by_client(flow) if flow.is_replay == "request" else _text(_with_stripped(flow))
    address = address_of(flow)
    client = Client(
        scope=scopes.of(headers, request.path, address),
        connection=flow.client_conn.id,
        address=address,
        user_agent=next((value for name, value in headers if name.lower() == "user-agent"), ""),
    )
    return Request(
        request.method, request.scheme, request.host, request.port, request.path, headers,
        request.raw_content or b"", client, _authority(request, headers),
    )  # fmt: skip


def said_by_client(flow: http.HTTPFlow) -> HeaderList:
    """The headers of a flow that went through us as the client sent them: without what we set."""
    ours = flow.metadata.get(STAMPED, ())
    return tuple(pair for pair in _text(_with_stripped(flow)) if pair[0].lower() not in ours)


def declare(flow: http.HTTPFlow, said: Mapping[str, str], instead_of: str) -> None:
    """Let a request that is to be sent say these headers, as if its client had.

    Headers whose names begin with `instead_of` go: what was stamped on it, and what was said.
    """
    request, start = flow.request, instead_of.encode()
    new = [(name.encode(), value.encode()) for name, value in said.items()]
    kept = [each for each in request.headers.fields if not each[0].lower().startswith(start)]
    request.headers.fields = (*kept, *new)
    stripped = flow.metadata.get(STRIPPED, ())
    flow.metadata[STRIPPED] = [each for each in stripped if not each[0].lower().startswith(start)]
    ours = flow.metadata.get(STAMPED, ())
    flow.metadata[STAMPED] = [name for name in ours if not name.startswith(instead_of)]


def _with_stripped(flow: http.HTTPFlow) -> list[Field]:
    return [*flow.request.headers.fields, *flow.metadata.get(STRIPPED, ())]


def head_of(flow: http.HTTPFlow) -> Request:
    """What a request says before its body, as it stands; of who sent it only the address."""
    request = flow.request
    headers = headers_of(request.headers)
    return Request(
        request.method, request.scheme, request.host, request.port, request.path, headers, b"",
        Client(address=address_of(flow)), _authority(request, headers),
    )  # fmt: skip


def address_of(flow: http.HTTPFlow) -> str:
    """Where the client of a flow is; "" where nobody knows."""
    return str((flow.client_conn.peername or ("",))[0])


def _authority(request: http.Request, headers: HeaderList) -> str:
    """The host that a client names, without its port."""
    said = request.authority or next((v for name, v in headers if name.lower() == "host"), "")
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0] or request.host


def strip(flow: http.HTTPFlow, edits: Sequence[Edit]) -> None:
    """Take headers away from a request; what the client said in them is kept, to identify it by."""
    names = {edit.name for edit in edits}
    if names:
        fields = flow.request.headers.fields
        said = [list(field) for field in fields if _text([field])[0][0] in names]
        flow.metadata[STRIPPED] = [*flow.metadata.get(STRIPPED, ()), *said]
        apply(edits, flow.request.headers)


def headers_of(headers: http.Headers) -> HeaderList:
    """Headers as text, in their order; bytes that are no UTF-8 as surrogates."""
    return _text(headers.fields)


def _text(fields: Iterable[Field]) -> HeaderList:
    return tuple(
        [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in fields
        ]
    )


def apply(edits: Sequence[Edit], headers: http.Headers) -> None:
    """Write header edits, all at once: mitmproxy takes its time for each."""
    if not edits:
        return
    new = {name.lower(): (name, value) for name, value in edits}
    names = {name.encode("utf-8", "surrogateescape") for name in new}
    kept = [field for field in headers.fields if field[0].lower() not in names]
    made = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in new.values()
        if value is not None
    ]
    headers.fields = (*kept, *made)


def is_event_stream(headers: HeaderList) -> bool:
    """Whether a reply says that it is server-sent events."""
    said = next((value for name, value in headers if name.lower() == "content-type"), "")
    return "event-stream" in said


def is_stream(headers: HeaderList) -> bool:
    """Whether a reply comes bit by bit: events, or a body whose length is not said beforehand."""
    has_length = any(name.lower() == "content-length" for name, _ in headers)
    return not has_length or is_event_stream(headers)


def is_reverse(client: connection.Client) -> bool:
    """Whether a client's upstream is the operator's choice (reverse mode), not its own."""
    return "reverse" in str(getattr(client, "proxy_mode", ""))


def has_client_left(flow: http.HTTPFlow) -> bool:
    """Whether it was the client that went away from a flow which failed, and not its upstream.

    Where both speak HTTP/2, only the code of a reset tells: most are the client's.
    """
    words = flow.error.msg if flow.error else ""
    if flow.is_replay == "request":
        return False
    if flow.client_conn.alpn not in _SEVERAL_A_CONNECTION:
        return "client disconnected" in words.lower()
    if not flow.client_conn.state & connection.ConnectionState.CAN_READ:
        return True
    if not (reset := _RESET.search(words)):
        return False
    may_be_upstream = flow.server_conn.alpn in _SEVERAL_A_CONNECTION
    return not (may_be_upstream and _SERVES_NOT.search(reset[1]))
