"""Calls in a WebSocket: which frames begin one, and which end it.

Codex sends whole requests of the Responses API as `response.create` frames, and gets the events of
the stream as frames. The Realtime API first collects items (`conversation.item.create`), and its
`response.create` means all of them; its conversation is kept by the server.
https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from callerid.wire import wirejson
from callerid.wire.wirejson import at, mapping, string

PATH = re.compile(r"/(?:responses|realtime)$")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.done", "error")
_KEPT = ("model", "instructions", "tools", "tool_choice", "temperature")  # of a Realtime session


class Frames:
    """What the frames of one WebSocket have said so far."""

    def __init__(self, path: str) -> None:
        query = parse_qs(urlsplit(path).query)
        self._session: dict[str, object] = {"model": query.get("model", [""])[0]}
        self._items: list[object] = []
        self._asked: list[object] = []  # the items of the newest call
        self._previous = ""

    def begun_by(self, frame: bytes) -> bytes:
        """The body of the call that a frame of the client begins; b"" where it begins none.

        Raises NotJSON.
        """
        said = mapping(wirejson.decode(frame))
        kind = string(said.get("type"))
        if kind == "session.update":
            self._update(mapping(said.get("session")))
        elif kind == "conversation.item.create":
            self._items.append(said.get("item"))
        elif kind == "response.create":
            self._asked = []
            body = said if "input" in said or "model" in said else self._collected(said)
            return wirejson.encode({k: v for k, v in body.items() if k != "type"})
        return b""

    def withdraw(self) -> None:
        """The newest call did not reach the server: its items are still to be answered."""
        self._items, self._asked = [*self._asked, *self._items], []

    def ended_by(self, frame: bytes) -> bool:
        """Whether a frame of the server is the last of a reply; raises NotJSON."""
        kind = wirejson.type_of(frame)
        if kind == "response.done":
            self._previous = string(at(wirejson.decode(frame), "response", "id"))
        return kind in _ENDS

    def _update(self, session: object) -> None:
        known = {name: value for name, value in mapping(session).items() if name in _KEPT}
        self._session.update(known)

    def _collected(self, said: object) -> dict[str, object]:
        """A Realtime call as a Responses body: the items since the last one."""
        asked = mapping(at(said, "response"))
        body: dict[str, object] = {**self._session, "stream": True, **asked}
        body.setdefault("input", self._items)
        if self._previous:
            body.setdefault("previous_response_id", self._previous)
        self._asked, self._items = self._items, []
        return body


def as_event(frame: bytes) -> bytes:
    """A frame as the server-sent event that it would be; raw line ends are no part of JSON."""
    return b"data: " + frame.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"
