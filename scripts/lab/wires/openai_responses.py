"""OpenAI Responses: https://platform.openai.com/docs/api-reference/responses-streaming."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from lab.exchange import Answer, Asked, Usage
from lab.wires import openai_chat, pieces

PATH = re.compile(r"/responses$")

_CREATED = 1_700_000_000
# What a response repeats of its request, and what it says where the request said nothing.
_REPEATED = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}

streams = openai_chat.streams
error = openai_chat.error


def whole(asked: Asked, answer: Answer) -> object:
    return _response(asked, "completed") | {
        "output": _items(asked, answer),
        "usage": _usage(answer.usage),
    }


def events(asked: Asked, answer: Answer) -> Iterator[bytes]:
    numbers = itertools.count()
    for data in _events(asked, answer):
        yield pieces.event(data | {"sequence_number": next(numbers)}, name=data["type"])


def response_id(asked: Asked) -> str:
    """The id of the answer to a request."""
    return f"resp_{asked.serial:024}"


def newest_text(asked: Asked) -> str:
    given = asked.json.get("input") or ""
    if isinstance(given, str):
        return given
    return pieces.newest(
        pieces.text_of(item.get("content")) for item in given if item.get("role") == "user"
    )


def tool_results(asked: Asked) -> tuple[str, ...]:
    given = asked.json.get("input") or []
    items = given if isinstance(given, list) else []
    results = pieces.at_the_end(items, type_key="type", type_name="function_call_output")
    return tuple(pieces.text_of(item["output"]) for item in results)


def _events(asked: Asked, answer: Answer) -> Iterator[dict[str, Any]]:
    started = _response(asked, "in_progress")
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for index, item in enumerate(_items(asked, answer)):
        streamed = _STREAMED.get(item["type"], _item_events)
        for data in streamed(item, answer):
            yield data | {"output_index": index}
    yield {"type": "response.completed", "response": whole(asked, answer)}


def _message_events(item: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "content_index": 0}
    part = item["content"][0]
    begun = item | {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "item": begun}
    yield {"type": "response.content_part.added", "part": part | {"text": ""}} | place
    for word in answer.words():
        yield {
            "type": "response.output_text.delta",
            "delta": word,
            "logprobs": [],
        } | place
    yield {
        "type": "response.output_text.done",
        "text": answer.text,
        "logprobs": [],
    } | place
    yield {"type": "response.content_part.done", "part": part} | place
    yield {"type": "response.output_item.done", "item": item}


def _call_events(item: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"]}
    begun = item | {"status": "in_progress", "arguments": ""}
    whole_arguments = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.output_item.added", "item": begun}
    for piece in pieces.cut(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece} | place
    yield {"type": "response.function_call_arguments.done"} | whole_arguments | place
    yield {"type": "response.output_item.done", "item": item}


def _item_events(item: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"type": "response.output_item.added", "item": item}
    yield {"type": "response.output_item.done", "item": item}


def _items(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    part = {
        "type": "output_text",
        "text": answer.text,
        "annotations": [],
        "logprobs": [],
    }
    message = {
        "id": f"msg_{asked.serial:024}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    return (
        [message] * bool(answer.text)
        + [
            {
                "id": f"fc_{asked.serial:022}_{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": openai_chat.call_id(asked, index),
                "name": call.name,
                "arguments": call.json(),
            }
            for index, call in enumerate(answer.tool_calls)
        ]
        + list(answer.items)
    )


def _response(asked: Asked, status: str) -> dict[str, Any]:
    request = asked.json
    repeated = {key: request.get(key, default) for key, default in _REPEATED.items()}
    return {
        "id": response_id(asked),
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": request["model"],
        "output": [],
        "usage": None,
    } | repeated


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


_STREAMED = {"message": _message_events, "function_call": _call_events}
