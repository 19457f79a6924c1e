"""A dialect at other doors than its maker's: counting, compacting, and other people's hosts."""

from __future__ import annotations

from typing import Any

import pytest

import make
from callerid.turn import Dialect, Kind, Opaque, Role

HELLO = [{"role": "user", "content": "Hello"}]
VERTEX = "/v1/projects/p/locations/l/publishers"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        pytest.param(
            f"{VERTEX}/anthropic/models/count-tokens:rawPredict",
            {"model": "claude-y", "messages": HELLO},
            (Dialect.ANTHROPIC, "claude-y", Kind.COUNT_TOKENS, False),
            id="Claude on Vertex counts",
        ),
        pytest.param(
            f"{VERTEX}/anthropic/models/claude-y@1:streamRawPredict",
            {"anthropic_version": "vertex-2023-10-16", "messages": HELLO},
            (Dialect.ANTHROPIC, "claude-y@1", Kind.MAIN, True),
            id="Claude on Vertex streams",
        ),
        pytest.param(
            f"{VERTEX}/mistralai/models/mistral-x@2:streamRawPredict",
            {"model": "mistral-x", "messages": HELLO, "stream": True},
            (Dialect.OPENAI_CHAT, "mistral-x", Kind.MAIN, True),
            id="Mistral on Vertex",
        ),
        pytest.param(
            "/v1/responses/input_tokens",
            {"model": "m", "input": "Hello"},
            (Dialect.OPENAI_RESPONSES, "m", Kind.COUNT_TOKENS, False),
            id="Responses counts",
        ),
        pytest.param(
            "/v1/responses/compact?api-version=1",
            {"model": "m", "input": "Hello"},
            (Dialect.OPENAI_RESPONSES, "m", Kind.COMPACTION, False),
            id="Responses compacts",
        ),
    ],
)
def test_a_call_is_known_at_another_door(
    path: str, body: dict[str, Any], expected: tuple[object, ...]
) -> None:
    call = make.read(path, body)

    assert (call.dialect, call.model, call.kind, call.streams) == expected


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (Dialect.ANTHROPIC, {"input_tokens": 11}),
        (Dialect.OPENAI_RESPONSES, {"object": "response.input_tokens", "input_tokens": 11}),
        (Dialect.GEMINI, {"totalTokens": 11, "promptTokensDetails": []}),
    ],
)
def test_what_was_counted_is_usage(dialect: Dialect, body: dict[str, Any]) -> None:
    assert make.whole(dialect, body).usage.input_tokens == 11


def test_groq_tells_its_tokens_beside_the_chunks() -> None:
    chunk = {"choices": [], "x_groq": {"usage": {"prompt_tokens": 11}}}

    reply = make.streamed(Dialect.OPENAI_CHAT, [make.sse(("", chunk), ("", "[DONE]"))])

    assert reply.usage.input_tokens == 11


def test_a_compacted_history_is_the_same_when_it_is_sent_again() -> None:
    output = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "compaction", "id": "c", "encrypted_content": "x"},
    ]
    compacted = {"object": "response.compaction", "output": output}

    reply = make.whole(Dialect.OPENAI_RESPONSES, compacted)
    again = make.read("/v1/responses", {"input": output})

    assert [message.role for message in reply.messages] == [Role.USER, Role.ASSISTANT]
    assert isinstance(reply.messages[1].parts[0], Opaque)
    assert [message.units for message in again.messages] == [m.units for m in reply.messages]
