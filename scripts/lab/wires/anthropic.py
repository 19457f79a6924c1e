"""Anthropic Messages: https://docs.anthropic.com/en/api/messages and .../messages-streaming."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lab.exchange import Answer, Asked, ToolCall, Usage
from lab.wires import pieces

PATH = re.compile(r"/v1/messages(?P<counts>/count_tokens)?$")

_ERROR_TYPES = {  # https://docs.anthropic.com/en/api/errors
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def streams(asked: Asked) -> bool:
    return bool(asked.json.get("stream"))


def whole(asked: Asked, answer: Answer) -> object:
    if asked.path.endswith("/count_tokens"):
        return {"input_tokens": answer.usage.input}
    return _message(asked, answer) | {
        "content": _blocks(asked, answer),
        "stop_reason": _stop_reason(answer),
        "usage": _usage(answer.usage),
    }


def events(asked: Asked, answer: Answer) -> Iterator[bytes]:
    for data in _events(asked, answer):
        yield pieces.event(data, name=data["type"])


def error(asked: Asked, answer: Answer) -> object:
    kind = _ERROR_TYPES.get(answer.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": answer.text},
        "request_id": f"req_{asked.serial:024}",
    }


def newest_text(asked: Asked) -> str:
    messages = asked.json["messages"]
    return pieces.newest(
        pieces.text_of(message["content"]) for message in messages if message["role"] == "user"
    )


def tool_results(asked: Asked) -> tuple[str, ...]:
    content = asked.json["messages"][-1]["content"]
    blocks = content if isinstance(content, list) else []
    return tuple(
        pieces.text_of(block.get("content"))
        for block in blocks
        if block.get("type") == "tool_result"
    )


def _events(asked: Asked, answer: Answer) -> Iterator[dict[str, Any]]:
    started = _message(asked, answer) | {"usage": _usage(answer.usage) | {"output_tokens": 1}}
    yield {"type": "message_start", "message": started}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(asked, answer)):
        empty = {"text": ""} if block["type"] == "text" else {"input": {}}
        yield {
            "type": "content_block_start",
            "index": index,
            "content_block": block | empty,
        }
        for delta in _deltas(block, answer):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _stop_reason(answer), "stop_sequence": None},
        "usage": {"output_tokens": answer.usage.output},
    }
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for word in answer.words():
            yield {"type": "text_delta", "text": word}
        return
    yield {"type": "input_json_delta", "partial_json": ""}  # theirs begins so, too
    for piece in pieces.cut(ToolCall(block["name"], block["input"]).json()):
        yield {"type": "input_json_delta", "partial_json": piece}


def _message(asked: Asked, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{asked.serial:024}",
        "type": "message",
        "role": "assistant",
        "model": asked.json["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": answer.text}] * bool(answer.text)
    return text + [
        {
            "type": "tool_use",
            "id": f"toolu_{asked.serial:020}{index:04}",
            "name": call.name,
            "input": call.arguments,
        }
        for index, call in enumerate(answer.tool_calls)
    ]


def _stop_reason(answer: Answer) -> str:
    return "tool_use" if answer.tool_calls else "end_turn"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "service_tier": "standard",
    }
