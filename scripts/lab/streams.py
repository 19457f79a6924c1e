"""Lets event streams pass as they come, and does nothing else: mitmproxy alone holds them back."""

from mitmproxy import http


def responseheaders(flow: http.HTTPFlow) -> None:
    if flow.response and "event-stream" in flow.response.headers.get("content-type", ""):
        flow.response.stream = True
