"""A small traces.db with a bit of everything: dialects, streams, tools, a helper, a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from make import sse
from office import anthropic_reply, office, text

CLERK = "You are a clerk who knows the tide tables of Saint-Malo by heart."
ERRAND = "Read page 112 of the almanac and report the highest spring tide with its hour."
READ = {
    "name": "delegate",
    "description": "Sends a helper.",
    "input_schema": {"type": "object", "properties": {"task": {"type": "string"}}},
}
WISH = {"type": "tool_use", "id": "t1", "name": "delegate", "input": {"task": ERRAND}}
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
KEY = "sk-test-0123456789abcdef"


def record(path: Path) -> list[str]:
    """Record eight calls in five sessions; their ids."""
    with office(path) as at:
        made: list[str] = []

        def call(place: str, body: Any, reply: Any, **more: Any) -> None:
            made.append(at.call(place, body, reply, **more)[0])

        _anthropic(call)
        _chat(call)
        _gemini(call)
        wrong = {"error": {"message": "no such key", "type": "invalid_request_error"}}
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Ça va?"}]}
        call("/v1/chat/completions", body, wrong, status=401)
    return made


def _anthropic(call: Any) -> None:
    headers = (("x-api-key", KEY), ("user-agent", "tide-bot/1.0"))
    to = {"host": "api.anthropic.com", "headers": headers}
    body = {"model": "claude-sonnet-4-6", "max_tokens": 9, "temperature": 0.5, "system": CLERK,
            "tools": [READ]}  # fmt: skip
    said: list[Any] = [{"role": "user", "content": "When is the highest tide this year?"}]
    reply = anthropic_reply(text("I have it read."), WISH)
    call("/v1/messages", body | {"messages": said}, reply, **to)
    errand = {"messages": [{"role": "user", "content": ERRAND}], "system": "You read almanacs."}
    call("/v1/messages", body | errand | {"tools": []}, anthropic_reply(text("14.1 m.")), **to)
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "14.1 m."}
    said += [
        {"role": "assistant", "content": [text("I have it read."), WISH]},
        {"role": "user", "content": [result, text("Well?")]},
    ]
    reply = anthropic_reply(text("On the 30th of March."), cached=90)
    call("/v1/messages", body | {"messages": said}, reply, **to)


def _chat(call: Any) -> None:
    messages = [
        {"role": "system", "content": "You name rivers."},
        {"role": "user", "content": "Name a river"},
    ]
    body = {"model": "gpt-5.5", "stream": True, "messages": messages}
    chunk = {"id": "c1", "model": "gpt-5.5", "choices": [{"delta": {"content": "The Danube."}}]}
    usage = {"id": "c1", "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 4}}
    stream = sse(("", chunk), ("", usage), ("", "[DONE]"))
    headers = (("authorization", f"Bearer {KEY}"), ("traceparent", TRACEPARENT))
    call("/v1/chat/completions", body, stream, host="api.openai.com", headers=headers)
    body["messages"] = [
        *messages,
        {"role": "assistant", "content": "The Danube."},
        {"role": "user", "content": "How long is it?"},
    ]
    reply = {
        "id": "c2", "model": "gpt-5.5",
        "choices": [{"message": {"role": "assistant", "content": "2,850 km."},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 6},
    }  # fmt: skip
    indented = b'{\n  "model": "gpt-5.5",\n  "messages": %b\n}'
    written = indented % json.dumps(body["messages"], ensure_ascii=False).encode()
    call("/v1/chat/completions", written, reply, host="api.openai.com")


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _gemini(call: Any) -> None:
    place = "/v1beta/models/gemini-2.5-flash:generateContent"
    asked = {"role": "user", "parts": [{"text": "What lies at the quay?"}]}
    wish = {"functionCall": {"name": "look", "args": {"at": "quay"}}}
    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": "You watch the harbour."}]},
        "tools": [{"functionDeclarations": [LOOK]}],
        "contents": [asked],
    }
    call(place, body, _gemini_reply(wish))
    seen = {"functionResponse": {"name": "look", "response": {"ship": "Etoile"}}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    body["contents"] = [
        asked,
        {"role": "model", "parts": [wish]},
        {"role": "user", "parts": [seen, picture]},
    ]
    call(place, body, _gemini_reply({"text": "The Etoile."}))


def _gemini_reply(part: dict[str, Any]) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 3, "thoughtsTokenCount": 5}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
