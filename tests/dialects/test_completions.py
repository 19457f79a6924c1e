"""Text completion: prompts, and the replies of those who take them, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Call, Dialect, Kind, Opaque, Reply, Role, Text, Usage
from callerid.wire.dialects.completions import SHAPES
from callerid.wire.parse import parse_call
from test_eventstream import chunk

DIALECT = Dialect.COMPLETIONS
AWS = "application/vnd.amazon.eventstream"
BODY: dict[str, Any] = {"model": "davinci-x", "prompt": "Hello"}


def read(**members: Any) -> Call:
    return make.read("/v1/completions", BODY | members)


# Calls


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/completions",
        "/v1/completions/",
        "/openai/deployments/my-gpt/completions?api-version=2026-10-01",
        "/v1/complete",
    ],
)
def test_a_call_is_known_at_each_path(path: str) -> None:
    call = make.read(path, BODY)

    assert (call.dialect, call.model, call.kind) == (DIALECT, "davinci-x", Kind.MAIN)
    assert [message.text for message in call.messages] == ["Hello"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/autocomplete", "/complete", "/"])
def test_other_paths_are_no_calls(path: str) -> None:
    assert parse_call(path, make.encoded(BODY), make.reader()) is None


def test_a_body_without_a_prompt_is_no_call() -> None:
    assert parse_call("/v1/completions", b'{"messages": []}', make.reader()) is None


@pytest.mark.parametrize("stream", [True, False, None])
def test_only_true_asks_for_a_stream(stream: object) -> None:
    assert read(stream=stream).streams is (stream is True)


def test_several_prompts_are_several_messages() -> None:
    call = read(prompt=["One", "Two"])

    assert [message.text for message in call.messages] == ["One", "Two"]


def test_a_prompt_of_tokens_is_told_apart_by_them() -> None:
    one, other = (read(prompt=tokens).messages[0].parts for tokens in ([1, 2], [[1], [2]]))

    assert isinstance(one[0], Opaque)
    assert one != other


def test_a_conversation_that_is_written_out_is_read_as_one() -> None:
    prompt = "Be brief.\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: Where?\n\nAssistant:"

    call = make.read("/v1/complete", {"model": "claude-x", "prompt": prompt})

    assert [(message.role, message.text.strip()) for message in call.messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "Hello"),
        (Role.ASSISTANT, "Hi!"),
        (Role.USER, "Where?"),
    ]


def test_a_written_out_conversation_grows_by_the_reply() -> None:
    prompt = "\n\nHuman: Hello\n\nAssistant:"
    reply = make.whole(DIALECT, {"completion": " Hi!", "stop_reason": "stop_sequence"})

    call = read(prompt=f"{prompt} Hi!\n\nHuman: Where?\n\nAssistant:")

    assert call.messages[1].units == reply.messages[0].units


def test_all_members_of_the_body_are_kept() -> None:
    body = BODY | {"prompt": ["One", "Two"], "max_tokens": 9}

    call = make.read("/v1/completions", body)

    assert [(name, json.loads(raw)) for name, raw in call.members] == list(body.items())


# Replies

REPLIES: dict[str, tuple[dict[str, Any], str, int | None]] = {
    "OpenAI": ({"choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 12}}, "stop", 11),
    "Anthropic": ({"completion": "Hi", "stop_reason": "stop_sequence"}, "stop_sequence", None),
    "Titan": ({"inputTextTokenCount": 11.0, "results": [
        {"tokenCount": 12.0, "outputText": "Hi", "completionReason": "FINISH"}]}, "FINISH", 11),
    "Llama": ({"generation": "Hi", "stop_reason": "length", "prompt_token_count": 11,
               "generation_token_count": 12}, "length", 11),
    "Mistral": ({"outputs": [{"text": "Hi", "stop_reason": "stop"}]}, "stop", None),
    "Cohere": ({"generations": [{"text": "Hi", "finish_reason": "COMPLETE"}]}, "COMPLETE", None),
    "Jurassic": ({"completions": [{"data": {"text": "Hi"},
                                   "finishReason": {"reason": "endoftext"}}]}, "endoftext", None),
}  # fmt: skip


@pytest.mark.parametrize(("body", "stop_reason", "input_tokens"), REPLIES.values(), ids=REPLIES)
def test_a_whole_reply_is_read_where_its_maker_puts_things(
    body: dict[str, Any], stop_reason: str, input_tokens: int | None
) -> None:
    reply = make.whole(DIALECT, body | {"id": "r_1", "model": "m-1"})

    assert [message.parts for message in reply.messages] == [(Text("Hi"),)]
    assert (reply.stop_reason, reply.model, reply.response_id) == (stop_reason, "m-1", "r_1")
    assert reply.usage.input_tokens == input_tokens
    assert reply.usage.output_tokens == (12 if input_tokens else None)
    assert bool(reply.usage.raw) is bool(input_tokens)


def test_of_several_texts_the_first_is_the_reply() -> None:
    choices = [{"index": 0, "text": "One"}, {"index": 1, "text": "Two"}]

    assert make.whole(DIALECT, {"choices": choices}).messages[0].text == "One"


@pytest.mark.parametrize(
    ("body", "word", "message"),
    [
        ({"error": {"type": "invalid_request_error", "message": "No"}}, "invalid_request_error",
         "No"),
        ({"message": "No such model."}, "http_400", "No such model."),
    ],
)  # fmt: skip
def test_an_error_is_the_providers_word(body: dict[str, Any], word: str, message: str) -> None:
    reply = make.whole(DIALECT, body, status=400)

    assert (reply.error, reply.error_message, reply.messages) == (word, message, ())


# Streams


def told(text: str, size: int = 3, **last: Any) -> list[dict[str, Any]]:
    """A completion as OpenAI streams it."""
    begin = {"id": "cmpl-1", "object": "text_completion", "model": "m-1"}
    chunks = [
        begin | {"choices": [{"index": 0, "text": piece, "finish_reason": None}]}
        for piece in make.pieces(text, size)
    ]
    end = begin | {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    return [*chunks, end | last]


def streamed(chunks: list[Any]) -> Reply:
    return make.streamed(DIALECT, [make.sse(*(("", chunk) for chunk in chunks))])


@make.QUICK
@given(data=st.data(), text=st.text(min_size=1, max_size=20), size=st.integers(1, 9))
def test_a_streamed_text_is_the_whole_text_however_it_is_cut(
    data: st.DataObject, text: str, size: int
) -> None:
    stream = make.sse(*(("", each) for each in [*told(text, size), "[DONE]"]))
    chunks = data.draw(make.chunks(stream))

    reply = make.streamed(DIALECT, chunks)

    assert reply.messages[0].parts == (Text(text),)
    assert (reply.stop_reason, reply.response_id, reply.model) == ("stop", "cmpl-1", "m-1")
    assert reply.complete


def test_tokens_may_be_counted_after_the_end() -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 12}

    reply = streamed([*told("Hi"), {"choices": [], "usage": usage}, "[DONE]"])

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 12)
    assert (reply.messages[0].text, reply.stop_reason) == ("Hi", "stop")


def test_of_several_streamed_texts_the_first_is_put_together() -> None:
    other = {"choices": [{"index": 1, "text": "No", "finish_reason": "length"}]}

    reply = streamed([told("Hi")[0], other, *told("!"), other])

    assert (reply.messages[0].text, reply.stop_reason) == ("Hi!", "stop")


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    reply = streamed(told("I look.")[:2])

    assert (reply.messages[0].text, reply.stop_reason) == ("I look", "")
    assert not reply.complete


# What the models of Bedrock stream, and what comes of it.
STREAMS: dict[str, tuple[list[dict[str, Any]], str, int | None]] = {
    "Titan": ([{"outputText": "I ", "inputTextTokenCount": 11},
               {"outputText": "look.", "totalOutputTextTokenCount": 12,
                "completionReason": "FINISH"}], "FINISH", 11),
    "Llama": ([{"generation": "I ", "prompt_token_count": 11, "stop_reason": None},
               {"generation": "look.", "prompt_token_count": None, "generation_token_count": 12,
                "stop_reason": "stop"}], "stop", 11),
    "Mistral": ([{"outputs": [{"text": "I ", "stop_reason": None}]},
                 {"outputs": [{"text": "look.", "stop_reason": "stop"}]}], "stop", None),
    "Cohere": ([{"text": "I ", "is_finished": False}, {"text": "look.", "is_finished": False},
                {"is_finished": True, "finish_reason": "COMPLETE", "text": ""}], "COMPLETE", None),
    "Claude": ([{"completion": "I ", "stop_reason": None},
                {"completion": "look.", "stop_reason": "stop_sequence"}], "stop_sequence", None),
}  # fmt: skip


@pytest.mark.parametrize(("chunks", "stop_reason", "input_tokens"), STREAMS.values(), ids=STREAMS)
def test_a_stream_is_put_together_where_its_maker_puts_things(
    chunks: list[dict[str, Any]], stop_reason: str, input_tokens: int | None
) -> None:
    stream = b"".join(map(chunk, chunks))

    reply = make.reply(DIALECT, make.bytewise(stream), content_type=AWS)

    assert reply.messages[0].parts == (Text("I look."),)
    assert (reply.stop_reason, reply.complete) == (stop_reason, True)
    assert reply.usage.input_tokens == input_tokens


def test_bedrock_counts_in_the_last_event() -> None:
    measured = {"inputTokenCount": 11, "outputTokenCount": 12, "invocationLatency": 300}
    last = {"outputs": [{"text": "Hi"}], "amazon-bedrock-invocationMetrics": measured}

    reply = make.reply(DIALECT, [chunk(last)], content_type=AWS)

    assert reply.usage == Usage(11, 12, raw=reply.usage.raw)
    assert reply.complete


@make.THOROUGH
@given(data=st.data())
def test_a_wrong_type_at_any_field_is_no_trouble(data: st.DataObject) -> None:
    odd = data.draw(make.JSON)
    place = data.draw(st.sampled_from([place for shape in SHAPES for place in shape if place]))
    value = odd
    for name in reversed(place.split(".")):
        value = [value] if name.isdigit() else {name: value}

    assert isinstance(make.whole(DIALECT, value), Reply)
    # A lone surrogate is no UTF-8: it comes as an escape.
    told = (("", json.dumps(each)) for each in (value, {"generation": "Hi"}, odd))
    assert isinstance(make.streamed(DIALECT, [make.sse(*told)]), Reply)
    assert isinstance(read(prompt=odd), Call)
