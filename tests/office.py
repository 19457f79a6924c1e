"""Everything but mitmproxy: calls go in as bytes, and are then on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from callerid.guard import Guard
from callerid.proxy.replies import Ending
from callerid.proxy.setup import Setup
from callerid.settings.load import load
from callerid.settings.values import Settings
from callerid.traces.rows import State
from callerid.turn import Client, Identity, Request

JSON = (("content-type", "application/json"),)
STREAM = (("content-type", "text/event-stream"),)


class Office:
    """A setup with a clock of its own; a call takes a second unless something else is said."""

    def __init__(self, path: Path, guard: Guard, settings: dict[str, Any], now: float) -> None:
        settings = {"admin": {"enabled": False}} | settings
        # A process of its own for each of some hundred records would take minutes.
        settings["record"] = {"own_process": False} | settings.get("record", {})
        configuration = msgspec.structs.replace(
            load(), settings=msgspec.convert(settings, Settings)
        )
        self.setup = Setup(configuration, path, guard)
        self.guard = guard
        self.now = now

    def call(
        self,
        path: str,
        body: Any,
        reply: Any,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        host: str = "llm.example",
        status: int = 200,
        seconds: float = 1.0,
        back: tuple[tuple[str, str], ...] = (),
    ) -> tuple[str, Identity]:
        """A call with its reply (bytes are a stream) and what it says `back` in more headers.

        Returns its id on record, and whose it is.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        client = Client("scope", "connection", "127.0.0.1", dict(headers).get("user-agent", ""))
        asked = Request("POST", "https", host, 443, path, headers, raw, client)
        taken = self.setup.desk.take(asked, "", self.now)
        assert taken is not None, "no call"
        assert taken.turn.identity is not None
        call = self.setup.desk.send(self.setup.desk.afford(taken, self.now), self.now).call
        assert call is not None
        replies = self.setup.desk.replies
        framing = STREAM if isinstance(reply, bytes) else JSON
        replies.begins(call, status, framing + back)
        back = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        replies.watch(call, back, self.now + seconds / 2)
        ended = self.now + seconds
        replies.end(call, Ending(State.OK, status, ended, self.now + seconds / 2, len(back)))
        self.now = ended + 1
        return call.entry.id, taken.turn.identity


@contextmanager
def office(path: Path, now: float = 1_790_000_000.0, **settings: Any) -> Iterator[Office]:
    """An office whose records are all written when the `with` block ends."""
    guard = Guard()
    at_work = Office(path, guard, settings, now)
    try:
        yield at_work
    finally:
        at_work.setup.close()
    assert not guard.counts, guard.counts


def anthropic_reply(
    *content: dict[str, Any], model: str = "claude-sonnet-4-6", tokens: tuple[int, int] = (100, 20),
    cached: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """A reply of Anthropic's."""
    uses_tool = any(block["type"] == "tool_use" for block in content)
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model,
        "content": list(content), "stop_reason": "tool_use" if uses_tool else "end_turn",
        "usage": {
            "input_tokens": tokens[0], "output_tokens": tokens[1],
            "cache_read_input_tokens": cached,
        },
    }  # fmt: skip


def text(words: str) -> dict[str, Any]:
    """A block of words."""
    return {"type": "text", "text": words}
