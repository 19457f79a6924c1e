"""Keeps mitmweb's memory bounded: it holds every flow for ever, and traces.db has them all."""

from __future__ import annotations

from collections import deque

from mitmproxy import ctx, http

from callerid.settings.values import ViewSettings


class Eviction:
    """Takes the oldest flows out of mitmproxy's view, where there are too many or too large ones.

    Those that a user has marked stay; mitmdump keeps none, and there is nothing to do.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[http.HTTPFlow, int]] = deque()
        self._bytes = 0

    def over(self, flow: http.HTTPFlow, settings: ViewSettings) -> None:
        """A flow has ended: make room, should that be needed."""
        view = ctx.master.addons.get("view")  # type: ignore[no-untyped-call]
        if view is None or not (settings.keep_flows or settings.keep_bytes):
            return
        size = _size(flow)
        self._kept.append((flow, size))
        self._bytes += size
        gone = []
        while self._is_too_much(settings) and len(self._kept) > 1:
            oldest, freed = self._kept.popleft()
            self._bytes -= freed
            if not oldest.marked or oldest.marked == oldest.metadata.get("callerid.marker"):
                gone.append(oldest)
        for each in gone:  # one by one: of several it tells the user
            view.remove([each])

    def _is_too_much(self, settings: ViewSettings) -> bool:
        too_many = bool(settings.keep_flows) and len(self._kept) > settings.keep_flows
        return too_many or (bool(settings.keep_bytes) and self._bytes > settings.keep_bytes)


def _size(flow: http.HTTPFlow) -> int:
    bodies = (flow.request.raw_content, flow.response.raw_content if flow.response else None)
    frames = flow.websocket.messages if flow.websocket else ()
    return sum(len(body or b"") for body in bodies) + sum(len(each.content) for each in frames)
