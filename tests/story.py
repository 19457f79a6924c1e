"""Reads the stories: conversations with the identity that we expect for each call, and why.

A story is YAML (tests/stories/*.yaml), and is told in every dialect unless it names some:

    - story: what it claims
      why: the reason, for people
      dialects: [anthropic]        # default: all four
      settings: {session: {...}}   # default: the shipped ones
      calls:
        - send: [user: Hello]      # user, assistant, system: text; call: {name, arguments}; result
          reply: Hi there!         # or {call: {name, arguments, id}}, or a list of both
          is: a                    # the session that this call belongs to, by a name of our own
          because: new
        - {"on": a, then: [user: More], reply: Sure., is: a, because: history}

`on` sends the history of that session's newest call, its reply, and then what `then` says. More of
a call: system, tools, headers, body (further members), key (credential), connection, at and
answered_at (seconds; default one after the other), fails (a status), breaks_off (the reply comes
half), path. More to expect: parent (a name), relation, kind, agent (a name of our own), root,
session_id, agent_id, evidence (a part of it), least and most (confidence).
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import yaml

from callerid.identity.switchboard import Switchboard, Turn
from callerid.settings.load import Configuration, load
from callerid.settings.values import Settings
from callerid.turn import Client, Dialect, Identity, Reply, Request
from callerid.wire import parse
from callerid.wire.messages import MessageReader

FOLDER = Path(__file__).with_name("stories")
PATHS = {
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.OPENAI_CHAT: "/v1/chat/completions",
    Dialect.OPENAI_RESPONSES: "/v1/responses",
    Dialect.GEMINI: "/v1beta/models/m:generateContent",
}


class Told(NamedTuple):
    """One call of a story as it was identified, and what the story expects of it."""

    number: int
    expected: dict[str, Any]
    identity: Identity


def stories() -> Iterator[tuple[str, dict[str, Any], Dialect]]:
    """Every story in each of its dialects, with a name for it."""
    for file in sorted(FOLDER.glob("*.yaml")):
        for story in yaml.safe_load(file.read_text("utf-8")):
            for dialect in story.get("dialects", list(PATHS)):
                yield f"{file.stem}: {story['story']} [{dialect}]", story, Dialect(dialect)


def configuration(story: dict[str, Any]) -> Configuration:
    """The shipped configuration with the settings of a story."""
    said = msgspec.convert(story.get("settings", {}), Settings)
    return msgspec.structs.replace(_shipped(), settings=said)


_shipped = functools.cache(load)


class Teller(Protocol):
    """What takes calls and hears how they ended."""

    reader: MessageReader

    def take(self, request: Request, now: float) -> Turn | None: ...

    def answer(self, turn: Turn, reply: Reply, now: float, *, has_failed: bool) -> None: ...


def tell(story: dict[str, Any], dialect: Dialect, board: Teller | None = None) -> list[Told]:
    """Send a story's calls through a switchboard, each reply at its time."""
    serial = itertools.count()
    new_id = lambda prefix: f"{prefix}_{next(serial):06d}"  # noqa: E731
    board = board or Switchboard(configuration(story), new_id)
    told: list[Told] = []
    waiting: list[tuple[float, int, Turn, dict[str, Any]]] = []
    histories: dict[str, list[Any]] = {}
    clock = 1000.0
    for number, call in enumerate(story["calls"]):
        at = 1000.0 + call["at"] if "at" in call else clock
        _answer_until(board, waiting, at)
        sent = [*histories[call["on"]], *call["then"]] if "on" in call else call["send"]
        turn = board.take(_request(call, sent, dialect), at)
        assert turn is not None, f"call {number} was not recognised"
        assert turn.identity is not None
        told.append(Told(number, call, turn.identity))
        histories[call["is"]] = [*sent, *_said(call.get("reply", []))]
        answered_at = 1000.0 + call["answered_at"] if "answered_at" in call else at + 1
        waiting.append((answered_at, number, turn, call))
        clock = max(at, clock) + 2
    return told


def _answer_until(board: Teller, waiting: list[Any], now: float) -> None:
    for item in sorted(waiting, key=lambda item: item[:2]):
        answered_at, number, turn, call = item
        if answered_at > now:
            continue
        waiting.remove(item)
        status = call.get("fails", 200)
        body = _reply(turn.call.dialect, _said(call.get("reply", [])), status, number, call)
        raw = json.dumps(body).encode()
        reply = parse.parse_reply(turn.call.dialect, status, raw, board.reader)
        has_failed = status >= 400 or call.get("breaks_off", False)
        board.answer(turn, reply, answered_at, has_failed=has_failed)


def _said(reply: Any) -> list[Any]:
    if isinstance(reply, str):
        return [{"assistant": reply}]
    return [reply] if isinstance(reply, dict) else list(reply)


def _request(call: dict[str, Any], sent: list[Any], dialect: Dialect) -> Request:
    system, tools = call.get("system", ""), call.get("tools", [])
    body, more = _BODIES[dialect](system, tools, sent), call.get("body", {})
    if dialect is Dialect.GEMINI and "request" in more:  # Code Assist wraps the call
        more = more | {"request": body | more["request"]}
        body = {}
    body = body | more
    headers = tuple((str(name), str(value)) for name, value in call.get("headers", {}).items())
    client = Client(
        scope=call.get("key", ""),
        connection=call.get("connection", ""),
        user_agent=call.get("headers", {}).get("user-agent", ""),
    )
    path = call.get("path", PATHS[dialect])
    raw = json.dumps(body).encode()
    return Request("POST", "https", "llm.example", 443, path, headers, raw, client)


# ------------------------------------------------------------- the four dialects, written plainly


def _chat(system: str, tools: list[str], sent: list[Any]) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    for at, item in enumerate(sent):
        messages.append(_chat_message(at, *next(iter(item.items()))))
    functions = [{"type": "function", "function": {"name": name}} for name in tools]
    return {"model": "m", "messages": messages} | ({"tools": functions} if tools else {})


def _chat_message(at: int, who: str, said: Any) -> dict[str, Any]:
    if who == "call":
        function = {"name": said["name"], "arguments": json.dumps(said.get("arguments", {}))}
        call = {"id": said.get("id", f"call_{at}"), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if who == "result":
        return {"role": "tool", "tool_call_id": f"call_{at - 1}", "content": said}
    return {"role": who, "content": said}


def _anthropic(system: str, tools: list[str], sent: list[Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m", "max_tokens": 100}
    if system:
        body["system"] = system
    if tools:
        body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in tools]
    items = [next(iter(item.items())) for item in sent]
    return body | {"messages": [_anthropic_message(at, *item) for at, item in enumerate(items)]}


def _anthropic_message(at: int, who: str, said: Any) -> dict[str, Any]:
    if who == "call":
        return {"role": "assistant", "content": [_tool_use(at, said)]}
    if who == "result":
        block = {"type": "tool_result", "tool_use_id": f"toolu_{at - 1}", "content": said}
        return {"role": "user", "content": [block]}
    return {"role": who, "content": said}


def _tool_use(at: int, said: dict[str, Any]) -> dict[str, Any]:
    asked = said.get("arguments", {})
    return {
        "type": "tool_use",
        "id": said.get("id", f"toolu_{at}"),
        "name": said["name"],
        "input": asked,
    }


def _responses(system: str, tools: list[str], sent: list[Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m"}
    if system:
        body["instructions"] = system
    if tools:
        body["tools"] = [{"type": "function", "name": name} for name in tools]
    items = [next(iter(item.items())) for item in sent]
    return body | {"input": [_responses_item(at, *item) for at, item in enumerate(items)]}


def _responses_item(at: int, who: str, said: Any) -> dict[str, Any]:
    if who == "call":
        asked = {"name": said["name"], "arguments": json.dumps(said.get("arguments", {}))}
        return {"type": "function_call", "call_id": said.get("id", f"c{at}")} | asked
    if who == "result":
        return {"type": "function_call_output", "call_id": f"c{at - 1}", "output": said}
    kind = "output_text" if who == "assistant" else "input_text"
    return {"type": "message", "role": who, "content": [{"type": kind, "text": said}]}


def _gemini(system: str, tools: list[str], sent: list[Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if tools:
        body["tools"] = [{"functionDeclarations": [{"name": name} for name in tools]}]
    contents = [_gemini_content(*next(iter(item.items()))) for item in sent]
    return body | {"contents": contents}


def _gemini_content(who: str, said: Any) -> dict[str, Any]:
    if who == "call":
        call = {"name": said["name"], "args": said.get("arguments", {})}
        return {"role": "model", "parts": [{"functionCall": call}]}
    if who == "result":
        result = {"name": "tool", "response": {"output": said}}
        return {"role": "user", "parts": [{"functionResponse": result}]}
    return {"role": "model" if who == "assistant" else "user", "parts": [{"text": said}]}


_BODIES = {
    Dialect.OPENAI_CHAT: _chat,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.OPENAI_RESPONSES: _responses,
    Dialect.GEMINI: _gemini,
}


def _reply(
    dialect: Dialect, said: list[Any], status: int, number: int, call: dict[str, Any]
) -> dict[str, Any]:
    if status >= 400:
        return {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    id = call.get("response_id", f"resp_{number}")
    items = [next(iter(item.items())) for item in said]
    if dialect is Dialect.ANTHROPIC:
        blocks = [
            _tool_use(at, words) if who == "call" else {"type": "text", "text": words}
            for at, (who, words) in enumerate(items)
        ]
        return {"id": id, "role": "assistant", "content": blocks, "stop_reason": "end_turn"}
    if dialect is Dialect.OPENAI_RESPONSES:
        output = [_responses_item(at, *item) for at, item in enumerate(items)]
        named = [item | {"id": call["item_id"]} for item in output] if "item_id" in call else output
        return {"id": id, "status": "completed", "output": named}
    if dialect is Dialect.GEMINI:
        parts = [part for item in items for part in _gemini_content(*item)["parts"]]
        content = {"role": "model", "parts": parts}
        return {"responseId": id, "candidates": [{"content": content, "finishReason": "STOP"}]}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for at, item in enumerate(items):
        part = _chat_message(at, *item)
        message["content"] = part["content"] or message["content"]
        message.setdefault("tool_calls", []).extend(part.get("tool_calls", []))
    others = [{"role": "assistant", "content": words} for words in call.get("others", [])]
    choices = [{"message": said, "finish_reason": "stop"} for said in (message, *others)]
    return {"id": id, "choices": choices}
