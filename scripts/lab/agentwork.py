"""Agents at work, written by us: system prompt, tools, tool calls and results, replies streamed.

Each call carries its whole history, as agents send it. What is volatile in real ones is so here:
a line of the system prompt changes with every call, and the mark of what is to be cached moves.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from callerid.turn import Client, Request
from lab.exchange import Answer, Asked, ToolCall, Usage
from lab.longtalks import text
from lab.wires import wire_of

TOOLS = 12
TOOL_BYTES = 900
SYSTEM_BYTES = 9_000
RESULT_BYTES = (80, 400, 400, 1_500, 1_500, 4_000)  # of a tool's result, one of these
WORDS = (12, 30, 60, 120)  # of what the model says beside a tool call
KEY = "sk-ant-lab-0123456789abcdef"
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}


class Turn(NamedTuple):
    """A call and the bytes of its reply."""

    request: Request
    content_type: str
    chunks: tuple[bytes, ...]


class Shape(NamedTuple):
    """How an agent talks: in which dialect, how its JSON is spaced, and whether it streams."""

    dialect: str
    is_spaced: bool
    streams: bool


SHAPES = (
    Shape("anthropic", is_spaced=False, streams=True),
    Shape("openai", is_spaced=False, streams=True),
    Shape("openai", is_spaced=True, streams=False),
    Shape("anthropic", is_spaced=True, streams=False),
)


def session(number: int, turns: int, shape: Shape = SHAPES[0]) -> Iterator[Turn]:
    """The turns of one agent's session; no other number has the same texts."""
    chance = random.Random(number)
    wire = wire_of(PATHS[shape.dialect])
    assert wire is not None
    said: list[dict[str, Any]] = [{"role": "user", "content": f"{number}: {_text(chance, 300)}"}]
    for at in range(turns):
        body = _BODIES[shape.dialect](number, at, said, shape.streams)
        asked = _asked(number, at, _sent(body, shape), shape)
        wish = ToolCall("read_part", {"path": f"src/{number}/{at}.py", "why": _text(chance, 60)})
        words = _text(chance, 6 * chance.choice(WORDS))
        answer = Answer(words, (wish,), usage=Usage(input=500 + at, output=80))
        whole: Any = wire.whole(asked, answer)
        chunks = tuple(wire.events(asked, answer)) if shape.streams else (_sent(whole, shape),)
        yield Turn(_request(number, asked), _CONTENT_TYPES[shape.streams], chunks)
        result = f"{at} {_text(chance, chance.choice(RESULT_BYTES))}"
        said += _EXCHANGES[shape.dialect](whole, result)


def _sent(value: object, shape: Shape) -> bytes:
    """A value as JSON: as Python's json.dumps writes it, or compact as JavaScript does."""
    if shape.is_spaced:
        return json.dumps(value).encode()
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _asked(number: int, at: int, sent: bytes, shape: Shape) -> Asked:
    headers = _headers(number, at, len(sent))
    return Asked(number * 10_000 + at, "POST", PATHS[shape.dialect], "", headers, sent, "1.1")


def _request(number: int, asked: Asked) -> Request:
    scope = f"scope {number % 7}"
    client = Client(scope, f"connection {number}", "127.0.0.1", "agent-lab/1.4.2")
    return Request(
        "POST", "https", "llm.example", 443, asked.path, asked.headers, asked.body, client
    )


def _headers(number: int, at: int, length: int) -> tuple[tuple[str, str], ...]:
    """About what the agents of vendors send."""
    return (
        ("host", "llm.example"),
        ("accept", "application/json"),
        ("authorization", f"Bearer {KEY}{number % 7}"),
        ("content-type", "application/json"),
        ("user-agent", "agent-lab/1.4.2 (external, cli)"),
        ("x-app", "cli"),
        ("x-lab-session-id", f"00000000-0000-4000-8000-{number:012d}"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-lang", "js"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-package-version", "0.81.0"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-runtime", "node"),
        ("x-stainless-runtime-version", "v24.3.0"),
        ("x-stainless-timeout", "600"),
        ("anthropic-beta", "lab-code-20250219,interleaved-thinking-2025-05-14,effort-2025-11-24"),
        ("anthropic-version", "2023-06-01"),
        ("x-client-request-id", f"{random.Random(number * 10_000 + at).getrandbits(128):032x}"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("content-length", str(length)),
    )


def _anthropic(number: int, at: int, said: list[dict[str, Any]], streams: bool) -> dict[str, Any]:
    *before, newest = said
    content = newest["content"]
    if isinstance(content, list):
        marked = content[-1] | {"cache_control": {"type": "ephemeral"}}
        newest = newest | {"content": [*content[:-1], marked]}
    return {
        "model": "claude-lab",
        "messages": [*before, newest],
        "system": [
            {"type": "text", "text": f"x-lab-line: version=1.4.2.{at:03x}; turn={at};"},
            {"type": "text", "text": _system(), "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [
            {"name": name, "description": words, "input_schema": _PARAMETERS}
            for name, words in _tools()
        ],
        "metadata": {"user_id": json.dumps({"session_id": f"lab-{number}"})},
        "max_tokens": 32_000,
        "temperature": 1,
        "stream": streams,
    }


def _openai(number: int, at: int, said: list[dict[str, Any]], streams: bool) -> dict[str, Any]:
    return {
        "model": "gpt-lab",
        "messages": [{"role": "system", "content": _system()}, *said],
        "tools": [
            {
                "type": "function",
                "function": {"name": name, "description": words, "parameters": _PARAMETERS},
            }
            for name, words in _tools()
        ],
        "stream": streams,
        **({"stream_options": {"include_usage": True}} if streams else {}),
        "temperature": 0.2,
    }


_BODIES = {"anthropic": _anthropic, "openai": _openai}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "The file to read, from the top of the work."},
        "why": {"type": "string", "description": "What is looked for."},
    },
    "required": ["path"],
}


def _anthropic_exchange(whole: Any, result: str) -> list[dict[str, Any]]:
    """What a turn adds to the history: what the model said, and what its tool has answered."""
    content = whole["content"]
    block = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": result}
    return [{"role": "assistant", "content": content}, {"role": "user", "content": [block]}]


def _openai_exchange(whole: Any, result: str) -> list[dict[str, Any]]:
    message = whole["choices"][0]["message"]
    kept = {name: message[name] for name in ("role", "content", "tool_calls")}
    id = message["tool_calls"][0]["id"]
    return [kept, {"role": "tool", "tool_call_id": id, "content": result}]


_EXCHANGES = {"anthropic": _anthropic_exchange, "openai": _openai_exchange}
_CONTENT_TYPES = {True: "text/event-stream", False: "application/json"}


def _system() -> str:
    return "You are a patient reader of code. " + _text(random.Random("system"), SYSTEM_BYTES)


def _tools() -> Iterator[tuple[str, str]]:
    for at in range(TOOLS):
        name = "read_part" if at == 0 else f"other_tool_{at}"
        yield name, _text(random.Random(f"tool {at}"), TOOL_BYTES)


def _text(chance: random.Random, size: int) -> str:
    """Some text of about a size; its new lines and quotes are escaped when it becomes JSON."""
    return text(chance, size).replace("\\n", "\n").replace('\\"', '"')
