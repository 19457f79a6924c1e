"""Embeddings: what is to be embedded, and what is said beside the vectors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Call, Dialect, Kind, Opaque, Reply, Text
from callerid.wire.parse import parse_call

DIALECT = Dialect.EMBEDDINGS
BODY: dict[str, Any] = {"model": "embed-x", "input": "Hello"}


def read(**members: Any) -> Call:
    return make.read("/v1/embeddings", BODY | members)


# Calls


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "Hello"}),
        ("/v1/embeddings", {"input": ["Hello"], "encoding_format": "base64"}),
        ("/openai/deployments/my-embed/embeddings?api-version=2026-10-01", {"input": "Hello"}),
        ("/api/embed", {"input": "Hello"}),
        ("/api/embeddings", {"prompt": "Hello"}),
        ("/v1/embed", {"texts": ["Hello"], "input_type": "search_query"}),
        ("/v2/embed", {"texts": ["Hello"], "input_type": "search_query"}),
    ],
)
def test_a_call_is_known_at_each_path(path: str, body: dict[str, Any]) -> None:
    call = make.read(path, {"model": "embed-x"} | body)

    assert (call.dialect, call.model, call.kind) == (DIALECT, "embed-x", Kind.EMBEDDING)
    assert [message.text for message in call.messages] == ["Hello"]
    assert not call.streams


@pytest.mark.parametrize("path", ["/v1/embeddings/7", "/embed", "/v1/rerank"])
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


def test_a_body_with_nothing_to_embed_is_no_call() -> None:
    assert parse_call("/v1/embeddings", b'{"model": "m"}', make.reader()) is None


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        (["One", "Two"], [(Text("One"),), (Text("Two"),)]),
        ([], []),
        (None, []),
        ("", []),
    ],
)
def test_each_text_is_a_message(input: object, expected: list[Any]) -> None:
    assert [message.parts for message in read(input=input).messages] == expected


def test_tokens_are_told_apart_by_what_they_are() -> None:
    one, other = (read(input=tokens).messages for tokens in ([1, 2], [[1, 3]]))

    assert (len(one), len(other)) == (1, 1)
    assert isinstance(one[0].parts[0], Opaque)
    assert one[0].parts != other[0].parts


def test_all_members_of_the_body_are_kept() -> None:
    body = BODY | {"input": ["One", "Two"], "dimensions": 9}

    call = make.read("/v1/embeddings", body)

    assert [(name, json.loads(raw)) for name, raw in call.members] == list(body.items())


# Replies


@pytest.mark.parametrize(
    "counted",
    [
        {"usage": {"prompt_tokens": 11, "total_tokens": 11}},
        {"usage": {"total_tokens": 11}},
        {"inputTextTokenCount": 11},
        {"prompt_eval_count": 11},
        {"meta": {"billed_units": {"input_tokens": 11}}},
    ],
    ids=["OpenAI", "Voyage", "Titan", "Ollama", "Cohere"],
)
def test_tokens_are_counted_where_the_provider_counts_them(counted: dict[str, Any]) -> None:
    reply = make.whole(DIALECT, {"model": "embed-x-1", "data": [{"embedding": [0.5]}]} | counted)

    assert (reply.messages, reply.model, reply.complete) == ((), "embed-x-1", True)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, None)


def test_tokens_that_are_not_counted_are_unknown() -> None:
    assert make.whole(DIALECT, {"embedding": [0.5]}).usage.input_tokens is None


def test_an_error_is_the_providers_word() -> None:
    body = {"error": {"type": "invalid_request_error", "message": "No"}}

    reply = make.whole(DIALECT, body, status=404)

    assert (reply.error, reply.error_message) == ("invalid_request_error", "No")


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_no_trouble(data: st.DataObject) -> None:
    odd = data.draw(make.JSON)
    name = data.draw(st.sampled_from(["input", "model", "prompt", "singleEmbeddingParams"]))

    assert isinstance(read(**{name: odd}), Call)
    assert isinstance(make.whole(DIALECT, odd), Reply)
    assert isinstance(make.whole(DIALECT, {"usage": odd, "meta": odd}), Reply)
    # A lone surrogate is no UTF-8: it comes as an escape.
    assert isinstance(make.streamed(DIALECT, [make.sse(("", json.dumps(odd)))]), Reply)
