"""Text completion: a prompt in, a text out, as older models take and give them.

OpenAI (https://platform.openai.com/docs/api-reference/completions) and the many who speak it,
Anthropic (https://docs.anthropic.com/en/api/complete), and at Bedrock's InvokeModel Titan, Llama,
Mistral, Cohere Command and Jurassic, whose replies differ in where things stand: a row each
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from callerid.turn import Call, Dialect, Part, Reply, Role, Text, Usage
from callerid.wire import canonical, sse, wirejson
from callerid.wire.dialects import openai_chat
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import at, count, mapping, sequence, string

NAME = Dialect.COMPLETIONS
PATH = re.compile(r"(?<!/chat)/completions$|/v1/complete$")

_PROMPTS = ("prompt", "inputText")
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_TURN = re.compile(r"\n\n(Human|Assistant):")  # as Anthropic says that a prompt is to be written
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_MEASURED = "amazon-bedrock-invocationMetrics"  # in the last event of a stream of Bedrock


class Shape(NamedTuple):
    """Where things stand in a reply: names and numbers, parted by dots; "" is nowhere."""

    text: str
    stop_reason: str
    input_tokens: str = ""
    output_tokens: str = ""


def fits(members: Mapping[str, bytes]) -> bool:
    """A prompt."""
    return any(name in members for name in _PROMPTS)


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; its prompt is what a person said, or a conversation that is written out."""
    prompt = next(wirejson.decode(members[name]) for name in _PROMPTS if name in members)
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true",
        system="",
        tools=(),
        messages=reader.read(NAME, map(wirejson.encode, _said(prompt)), read_parts),
        members=tuple(members.items()),
    )


def _said(prompt: object) -> list[dict[str, object]]:
    """Who said what in a prompt: a text, several, or tokens; as messages."""
    if isinstance(prompt, str):
        said = _turns(prompt)
    else:
        texts = [item for item in sequence(prompt) if isinstance(item, str)]
        said = [("user", text) for text in texts] or [("user", prompt)]
    return [{"role": role, "content": content} for role, content in said]


def _turns(prompt: str) -> list[tuple[str, object]]:
    before, *rest = _TURN.split(prompt)
    if not rest:
        return [("user", prompt)]
    said = zip((_SPEAKERS[name] for name in rest[::2]), rest[1::2], strict=True)
    return [(role, text) for role, text in [("system", before), *said] if text.strip()]


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply (its first text), or an error."""
    shape = shape_of(body)
    text = string(found(body, shape.text))
    error = at(body, "error")
    raw = wirejson.encode({"role": "assistant", "content": text})
    return Reply(
        messages=(reader.make(raw, Role.ASSISTANT, (Text(text),)),) if text else (),
        stop_reason=string(found(body, shape.stop_reason)),
        model=string(at(body, "model")),
        response_id=string(at(body, "id")),
        usage=_usage(body, shape),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(error, "message")) or string(at(body, "message")),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of what was said: a text, or tokens."""
    content = at(value, "content")
    role = _ROLES.get(string(at(value, "role")), Role.USER)
    if isinstance(content, str):
        return role, (Text(content),)
    return role, (canonical.opaque("tokens", {"tokens": content}),)


def shape_of(body: object) -> Shape:
    """The row whose text a reply has; OpenAI's where it has none."""
    return next((shape for shape in SHAPES if found(body, shape.text) is not None), SHAPES[0])


def found(body: object, place: str) -> object:
    """The value at a place; None where the way ends."""
    for name in place.split(".") if place else [""]:
        items = sequence(body)[int(name) :] if name.isdigit() else ()
        body = items[0] if items else at(body, name)
    return body


def _usage(body: object, shape: Shape) -> Usage:
    measured = mapping(at(body, _MEASURED))
    given = found(body, shape.input_tokens), found(body, shape.output_tokens)
    raw = at(body, "usage") or measured or dict(zip(("input", "output"), given, strict=True))
    return Usage(
        input_tokens=_whole(given[0] or measured.get("inputTokenCount")),
        output_tokens=_whole(given[1] or measured.get("outputTokenCount")),
        raw=b"" if given == (None, None) and not measured else wirejson.encode(raw),
    )


def _whole(number: object) -> int | None:
    """A count; Titan writes 28.0 where a guardrail has looked at the reply."""
    is_whole = isinstance(number, float) and number.is_integer()
    return count(int(number) if isinstance(number, float) and is_whole else number)


class Stream:
    """Puts a reply together from its chunks, each of which has the shape of a reply."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._pieces: list[str] = []
        self._stop_reason = ""
        self._shape = SHAPES[0]

    def take(self, event: sse.Event) -> None:
        """Read one event; of several texts only the first is put together."""
        if event.data.strip() == b"[DONE]":
            self.is_complete = True
            return
        chunk = mapping(wirejson.decode(event.data))
        if found(chunk, "choices.0.index"):
            return
        self._body.update({name: value for name, value in chunk.items() if value is not None})
        shape = shape_of(chunk)
        if isinstance(piece := found(chunk, shape.text), str):
            self._shape = shape
            self._pieces.append(piece)
        self._stop_reason = string(found(chunk, shape.stop_reason)) or self._stop_reason
        self.is_complete = self.is_complete or bool(self._stop_reason) or _MEASURED in chunk

    def body(self) -> object:
        """The reply so far, in the shape of its chunks."""
        whole = {self._shape.text: "".join(self._pieces)} if self._pieces else {}
        whole |= {self._shape.stop_reason: self._stop_reason} if self._stop_reason else {}
        body: object = self._body
        for place, value in whole.items():
            body = _with(body, place.split("."), value)
        return body


def _with(body: object, place: list[str], value: object) -> object:
    """A copy of a body with another value at a place."""
    if not place:
        return value
    name, *rest = place
    if name.isdigit():
        items = sequence(body)
        return [_with(items[0] if items else None, rest, value), *items[1:]]
    return {**mapping(body), name: _with(at(body, name), rest, value)}


SHAPES = (
    Shape("choices.0.text", "choices.0.finish_reason", "usage.prompt_tokens",
          "usage.completion_tokens"),
    Shape("completion", "stop_reason"),  # Anthropic
    Shape("results.0.outputText", "results.0.completionReason", "inputTextTokenCount",
          "results.0.tokenCount"),  # Titan
    Shape("outputText", "completionReason", "inputTextTokenCount",
          "totalOutputTextTokenCount"),  # Titan, streamed
    Shape("generation", "stop_reason", "prompt_token_count", "generation_token_count"),  # Llama
    Shape("outputs.0.text", "outputs.0.stop_reason"),  # Mistral
    Shape("generations.0.text", "generations.0.finish_reason"),  # Cohere Command
    Shape("text", "finish_reason"),  # Cohere Command, streamed
    Shape("completions.0.data.text", "completions.0.finishReason.reason"),  # Jurassic
)  # fmt: skip
