"""OpenAI Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lab.exchange import Answer, Asked, Usage
from lab.wires import pieces

PATH = re.compile(r"/chat/completions$")

_CREATED = 1_700_000_000  # any; a fixed one keeps the answers the same from run to run
_ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_exceeded"}


def streams(asked: Asked) -> bool:
    return bool(asked.json.get("stream"))


def whole(asked: Asked, answer: Answer) -> object:
    message = {"role": "assistant", "content": answer.text or None, "refusal": None}
    calls = [
        {"id": call_id(asked, index), "type": "function"}
        | {"function": {"name": call.name, "arguments": call.json()}}
        for index, call in enumerate(answer.tool_calls)
    ]
    choice = {
        "index": 0,
        "message": message | ({"tool_calls": calls} if calls else {}),
        "logprobs": None,
        "finish_reason": _finish_reason(answer),
    }
    return _completion(asked, "chat.completion") | {
        "choices": [choice],
        "usage": _usage(answer.usage),
    }


def events(asked: Asked, answer: Answer) -> Iterator[bytes]:
    wants_usage = bool((asked.json.get("stream_options") or {}).get("include_usage"))
    chunk = _completion(asked, "chat.completion.chunk") | ({"usage": None} if wants_usage else {})
    for delta in _deltas(asked, answer):
        yield pieces.event(chunk | {"choices": [_choice(delta)]})
    yield pieces.event(chunk | {"choices": [_choice({}, _finish_reason(answer))]})
    if wants_usage:
        yield pieces.event(chunk | {"choices": [], "usage": _usage(answer.usage)})
    yield b"data: [DONE]\n\n"


def error(asked: Asked, answer: Answer) -> object:
    kind = _ERROR_TYPES.get(answer.status, "invalid_request_error")
    kind = "server_error" if answer.status >= 500 else kind
    return {"error": {"message": answer.text, "type": kind, "param": None, "code": None}}


def newest_text(asked: Asked) -> str:
    messages = asked.json["messages"]
    return pieces.newest(
        pieces.text_of(message.get("content")) for message in messages if message["role"] == "user"
    )


def tool_results(asked: Asked) -> tuple[str, ...]:
    results = pieces.at_the_end(asked.json["messages"], type_key="role", type_name="tool")
    return tuple(pieces.text_of(message.get("content")) for message in results)


def call_id(asked: Asked, index: int) -> str:
    """The id of a tool call; the Responses API has the same."""
    return f"call_{asked.serial:020}{index:04}"  # as long as theirs


def _deltas(asked: Asked, answer: Answer) -> Iterator[dict[str, Any]]:
    first = "" if answer.text or not answer.tool_calls else None
    yield {"role": "assistant", "content": first, "refusal": None}
    for word in answer.words():
        yield {"content": word}
    for index, call in enumerate(answer.tool_calls):
        named = {"id": call_id(asked, index), "type": "function"}
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, **named, "function": function}]}
        for piece in pieces.cut(call.json()):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "index": 0,
        "delta": delta,
        "logprobs": None,
        "finish_reason": finish_reason,
    }


def _completion(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{asked.serial:024}",
        "object": kind,
        "created": _CREATED,
        "model": asked.json["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_lab",
    }


def _finish_reason(answer: Answer) -> str:
    return "tool_calls" if answer.tool_calls else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
        },
    }
