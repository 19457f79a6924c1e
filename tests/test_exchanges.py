"""Recorded exchanges with providers, each with what a plain parse of it says: we read the same.

They lie beside the checkout, in shared/corpora; without them there is nothing to compare.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import make
from callerid.turn import Call, Dialect, Reply, Text, ToolCall
from callerid.wire.messages import MessageReader
from callerid.wire.parse import parse_call

FOLDER = Path(__file__).parents[2] / "shared" / "corpora" / "exchanges"
WIRES = {
    Dialect.ANTHROPIC: "anthropic",
    Dialect.OPENAI_CHAT: "openai-chat",
    Dialect.OPENAI_RESPONSES: "openai-responses",
    Dialect.GEMINI: "gemini",
}
COUNTED = {
    "cached_tokens": "cached tokens",
    "cache_read_input_tokens": "cached tokens",
    "cache_creation_input_tokens": "written tokens",
    "reasoning_tokens": "reasoning tokens",
}
AGREEMENT = 0.99  # some recordings are cut, and providers have odd days
SHOWN = 20

Exchange = dict[str, Any]
Said = dict[str, object]


@cache
def recorded() -> list[Exchange]:
    """Every exchange for which the recording says what is in it."""
    if not FOLDER.is_dir():
        pytest.skip(f"there are no recorded exchanges: {FOLDER} is missing")
    return [exchange for exchange in _lines() if exchange["expected"] is not None]


def _lines() -> Iterator[Exchange]:
    for file in sorted(FOLDER.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


@pytest.mark.parametrize("dialect", WIRES)
def test_a_recorded_exchange_is_read_as_it_was(dialect: Dialect) -> None:
    exchanges = [exchange for exchange in recorded() if exchange["wire"] == WIRES[dialect]]
    reader = make.reader()

    differences = [
        f"{exchange['source']}: {name} is {said.get(name)!r}, expected {expected!r}"
        for exchange in exchanges
        for said in [read(exchange, dialect, reader)]
        for name, expected in told(exchange).items()
        if said.get(name) != expected
    ]

    wrong = {difference.partition(": ")[0] for difference in differences}
    agreement = 1 - len(wrong) / len(exchanges)
    shown = "\n".join(differences[:SHOWN])
    assert agreement >= AGREEMENT, f"{agreement:.1%} of {len(exchanges)} agree:\n{shown}"


def told(exchange: Exchange) -> Said:
    """What the recording says."""
    expected = exchange["expected"]
    if expected.get("error"):
        return {"error": str(expected["error_type"] or f"http_{expected['status']}")}
    extra = expected.get("extra") or {}  # what is none of it was not there, or 0
    counted = {name: extra[member] for member, name in COUNTED.items() if member in extra}
    whole = {} if exchange["streaming"] else json.loads(exchange["response_body"])
    ids = [whole[name] for name in ("id", "responseId") if name in whole]
    return {
        "request model": expected["request_model"] or "",
        "streams": exchange["streaming"],
        "model": expected["model"] or "",
        "stop reason": str(expected["stop_reason"] or ""),  # Vertex may send its number
        "input tokens": expected["input_tokens"],
        "output tokens": expected["output_tokens"],
        "tool calls": expected["tool_calls"],
        "text": expected["text_prefix"],
        "text length": expected["text_len"],
        "fails": "error_event" in extra,
        **counted,
        **({"id": ids[0]} if ids else {}),
    }


def read(exchange: Exchange, dialect: Dialect, reader: MessageReader) -> Said:
    """What we read."""
    call = parse_call(exchange["path"], make.encoded(exchange["request_body"]), reader)
    content_type = exchange["response_headers"].get("content-type", "")
    body = exchange["response_body"].encode()
    reply = make.reply(dialect, [body], exchange["status"], content_type)
    return said(call, reply) if call is not None else {}


def said(call: Call, reply: Reply) -> Said:
    parts = [part for message in reply.messages for part in message.parts]
    text = "".join(part.text for part in parts if isinstance(part, Text))
    return {
        "request model": call.model,
        "streams": call.streams,
        "model": reply.model,
        "stop reason": reply.stop_reason,
        "input tokens": reply.usage.input_tokens,
        "output tokens": reply.usage.output_tokens,
        "cached tokens": reply.usage.cache_read_input_tokens,
        "written tokens": reply.usage.cache_creation_input_tokens,
        "reasoning tokens": reply.usage.reasoning_tokens,
        "tool calls": [part.name for part in parts if isinstance(part, ToolCall)],
        "text": text[:200],
        "text length": len(text),
        "id": reply.response_id,
        "error": reply.error,
        "fails": bool(reply.error),
    }
