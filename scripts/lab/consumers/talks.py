"""Chats that nobody has told callerid anything about, and a few that declare something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

MODEL = "gpt-lab"
NAME = "x-request-id"  # by it a call is found again in traces.db and in a consumer's log
TOOL = "delegate"
_SECONDS = 60.0
_TOKENS = 24  # of an answer: enough that no two of a random model are alike
_SYSTEMS = {"helper": "You are a careful reader of almanacs."}
_SYSTEM = "You are a tide researcher. Delegate reading."
_FUNCTION = {
    "name": TOOL,
    "parameters": {"type": "object", "properties": {"task": {"type": "string"}}},
}


class Turn(NamedTuple):
    """The truth of one call: whose it is, what became of it, and what must have.

    `is_refused`: the consumer must refuse it. `is_untold`: the consumer must hear of no session.
    """

    name: str
    talk: str
    parent: str
    status: int
    is_final: bool
    is_refused: bool
    is_untold: bool


@dataclass
class Talk:
    """One conversation, by a label; `session` is what callerid answered that it is."""

    line: Line
    label: str
    parent: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    session: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str, **how: bool) -> None:
        """Say something to the model; `how` is is_final, is_refused, is_untold or streams."""
        self._send({"role": "user", "content": text}, **how)

    def give(self, result: str) -> None:
        """Tell the model what the tool said that it has just wished for."""
        (wish,) = self.messages[-1]["tool_calls"]
        self._send({"role": "tool", "tool_call_id": wish["id"], "content": result})

    def errand(self) -> str:
        """What the model has just asked a tool to do."""
        (wish,) = self.messages[-1]["tool_calls"]
        return str(json.loads(wish["function"]["arguments"])["task"])

    def _send(self, message: dict[str, Any], *, streams: bool = False, **how: bool) -> None:
        self.messages.append(message)
        system = {"role": "system", "content": _SYSTEMS.get(self.label, _SYSTEM)}
        body = {"model": MODEL, "max_tokens": _TOKENS, "stream": streams,
                "messages": [system, *self.messages]}  # fmt: skip
        if self.line.has_tools and self.label not in _SYSTEMS:
            body["tools"] = [{"type": "function", "function": _FUNCTION}]
        headers = dict(self.headers)
        if how.get("is_final"):
            headers["x-callerid-session-final"] = "true"
        answer = self.line.post(self, body, headers, **how)
        if answer.is_success:
            self.session = answer.headers["x-callerid-session-id"]
            self.messages.append(_streamed(answer.text) if streams else _whole(answer.text))


@dataclass
class Line:
    """A client's way through callerid to a consumer; notes the truth of each call in `turns`.

    `name` sets its calls apart from those of other lines to the same consumer.
    """

    name: str
    client: httpx.Client
    has_tools: bool
    turns: list[Turn] = field(default_factory=list)

    def talk(self, label: str, parent: str = "", **headers: str) -> Talk:
        """A new talk; `headers` go with each call, with - for _."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Talk(self, label, parent, named)

    def post(
        self,
        talk: Talk,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        is_final: bool = False,
        is_refused: bool = False,
        is_untold: bool = False,
    ) -> httpx.Response:
        """Make a call of a talk."""
        name = f"{self.name}-{talk.label}-{len(self.turns) + 1}"
        answer = self.client.post(
            "/v1/chat/completions", json=body, headers={NAME: name} | dict(headers)
        )
        self.turns.append(
            Turn(name, talk.label, talk.parent, answer.status_code, is_final, is_refused, is_untold)
        )
        return answer


@contextmanager
def line(name: str, url: str, key: str, *, has_tools: bool) -> Iterator[Line]:
    """A line to a proxy in reverse mode."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False) as client:
        yield Line(name, client, has_tools)


def _whole(text: str) -> dict[str, Any]:
    return _said(json.loads(text)["choices"][0]["message"])


def _streamed(text: str) -> dict[str, Any]:
    """The text that came in pieces: these streams hold no wish for a tool."""
    data = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {"))
    choices: Iterable[dict[str, Any]] = (
        choice for one in data for choice in json.loads(one)["choices"]
    )
    return _said({"content": "".join(choice["delta"].get("content") or "" for choice in choices)})


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    """What goes back as the model's own words."""
    said = {"role": "assistant", "content": message["content"]}
    return said | ({"tool_calls": wishes} if (wishes := message.get("tool_calls")) else {})
