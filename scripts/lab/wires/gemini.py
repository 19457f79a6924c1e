"""Gemini: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from lab.exchange import Answer, Asked, Usage
from lab.wires import pieces

PATH = re.compile(
    r"/models/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent|countTokens)$"
)

_STATUSES = {  # https://cloud.google.com/apis/design/errors
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def streams(asked: Asked) -> bool:
    return _method(asked) == "streamGenerateContent" and "alt=sse" in asked.query.split("&")


def whole(asked: Asked, answer: Answer) -> object:
    if _method(asked) == "countTokens":
        return {"totalTokens": answer.usage.input}
    if _method(asked) == "streamGenerateContent":
        return list(_chunks(asked, answer))  # without alt=sse it streams one JSON array
    parts = [{"text": answer.text}] * bool(answer.text) + _call_parts(answer)
    return _response(asked, parts, "STOP") | {"usageMetadata": _usage(answer.usage)}


def events(asked: Asked, answer: Answer) -> Iterator[bytes]:
    for chunk in _chunks(asked, answer):
        yield pieces.event(chunk, line_end="\r\n")


def error(asked: Asked, answer: Answer) -> object:
    status = _STATUSES.get(answer.status, "UNKNOWN")
    return {"error": {"code": answer.status, "message": answer.text, "status": status}}


def newest_text(asked: Asked) -> str:
    contents = asked.json["contents"]
    return pieces.newest(
        pieces.text_of(content["parts"])
        for content in contents
        if content.get("role", "user") == "user"
    )


def tool_results(asked: Asked) -> tuple[str, ...]:
    responses = (part.get("functionResponse") for part in asked.json["contents"][-1]["parts"])
    return tuple(_result_text(response["response"]) for response in responses if response)


def _result_text(response: dict[str, Any]) -> str:
    """The result itself where the client used the customary key, else the whole object."""
    result = response.get("result", response.get("output", response))
    return result if isinstance(result, str) else json.dumps(result)


def _chunks(asked: Asked, answer: Answer) -> Iterator[dict[str, Any]]:
    for word in answer.words():
        yield _response(asked, [{"text": word}])
    for part in _call_parts(answer):  # Gemini sends a call in one piece
        yield _response(asked, [part])
    last = _response(asked, [{"text": ""}], "STOP")
    yield last | {"usageMetadata": _usage(answer.usage)}


def _call_parts(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"name": call.name, "args": call.arguments}} for call in answer.tool_calls
    ]


def _response(
    asked: Asked, parts: list[dict[str, Any]], finish_reason: str | None = None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts},
        "index": 0,
    }
    finished = {"finishReason": finish_reason} if finish_reason else {}
    return {
        "candidates": [candidate | finished],
        "modelVersion": _match(asked)["model"],
        "responseId": f"lab-{asked.serial}",
    }


def _method(asked: Asked) -> str:
    return _match(asked)["method"]


def _match(asked: Asked) -> re.Match[str]:
    match = PATH.search(asked.path)
    assert match, asked.path
    return match


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
