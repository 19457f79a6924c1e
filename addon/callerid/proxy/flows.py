"""mitmproxy's flows: what they say as values, and header edits written back on them."""

from __future__ import annotations

from collections.abc import Sequence

from mitmproxy import http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from callerid.scopes import Scopes
from callerid.stamp.stamper import Edit
from callerid.turn import Client, HeaderList, Identity, Request

STAMPED = "callerid.stamped"  # in a flow's metadata: the headers that we set, for replays


def request_of(flow: http.HTTPFlow, scopes: Scopes) -> Request:
    """The request of a flow, its body still packed; of a replay, without what we set."""
    request = flow.request
    headers = headers_of(request.headers)
    if flow.is_replay == "request":
        ours = flow.metadata.get(STAMPED, ())
        headers = tuple(pair for pair in headers if pair[0].lower() not in ours)
    address = str((flow.client_conn.peername or ("",))[0])
    client = Client(
        scope=scopes.of(headers, request.path, address),
        connection=flow.client_conn.id,
        address=address,
        user_agent=request.headers.get("user-agent", ""),
    )
    body = request.raw_content or b""
    return Request(
        request.method, request.scheme, request.host, request.port, request.path, headers, body,
        client,
    )  # fmt: skip


def headers_of(headers: http.Headers) -> HeaderList:
    """Headers as text, in their order; bytes that are no UTF-8 as surrogates."""
    return tuple(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in headers.fields
    )


def apply(edits: Sequence[Edit], headers: http.Headers) -> None:
    """Write header edits."""
    for name, value in edits:
        if value is None:
            headers.pop(name, None)
        else:
            headers[name] = value


def opens_socket(request: http.Request) -> bool:
    """Whether a request is the handshake of a WebSocket."""
    return str(request.headers.get("upgrade", "")).lower() == "websocket"


def is_event_stream(response: http.Response) -> bool:
    """Whether a reply says that it is server-sent events."""
    return "event-stream" in str(response.headers.get("content-type", ""))


def is_stream(response: http.Response) -> bool:
    """Whether a reply comes bit by bit: events, or a body whose length is not said beforehand."""
    return is_event_stream(response) or "content-length" not in response.headers


def is_reverse(data: ServerConnectionHookData) -> bool:
    """Whether the upstream is the operator's choice (reverse mode), not the client's."""
    return "reverse" in str(getattr(data.client, "proxy_mode", ""))


def describe(flow: http.HTTPFlow, identity: Identity | None) -> None:
    """One line for the comment column of mitmweb, unless the user has written there."""
    ours = flow.metadata.get("callerid.comment")
    if identity is not None and (not flow.comment or flow.is_replay or flow.comment == ours):
        flow.comment = flow.metadata["callerid.comment"] = (
            f"{identity.kind} · {identity.agent_name} · {identity.session_id} · "
            f"{identity.because} {identity.confidence:.2f}"
        )
