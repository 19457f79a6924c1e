"""The same call at another provider: to the letter where it speaks the same, else what can be told.

Where the dialects differ, prompt, words, tool calls and their results, tools with a schema, and the
settings below go along; thoughts, images, tools that a provider runs itself and the rest do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from callerid.again import rebuild
from callerid.again.endpoints import Endpoint
from callerid.again.rebuild import Origin, Prepared
from callerid.archive import calls
from callerid.archive.calls import CallFacts, Spoken
from callerid.door.message import Message
from callerid.exports.openai_chat import tools_of
from callerid.turn import Dialect
from callerid.wire import wirejson

_PATHS = {
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.OPENAI_CHAT: "/chat/completions",
    Dialect.OPENAI_RESPONSES: "/responses",
}
_GEMINI = "/v1beta/models/{model}:{method}"
# Where dialects have the settings that all of them know.
_SETTINGS = {
    "max_tokens": (("max_tokens",), ("max_completion_tokens",), ("max_output_tokens",),
                   ("generationConfig", "maxOutputTokens"), ("inferenceConfig", "maxTokens"),
                   ("options", "num_predict")),
    "temperature": (("temperature",), ("generationConfig", "temperature"),
                    ("inferenceConfig", "temperature"), ("options", "temperature")),
    "top_p": (("top_p",), ("generationConfig", "topP"), ("inferenceConfig", "topP"), ("p",)),
}  # fmt: skip


class Neutral(NamedTuple):
    """A call in nobody's dialect; `tools` are JSON schemas by name, with a description."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[tuple[str, str, dict[str, object]], ...]
    settings: dict[str, object]


def at_endpoint(prepared: Prepared, endpoint: Endpoint) -> Prepared:
    """The same request at another provider of its dialect."""
    if prepared.dialect is Dialect.GEMINI:
        method = prepared.facts.path.rpartition(":")[2]
        path = _GEMINI.format(model=quote(prepared.model, safe="."), method=method)
    else:
        path = _PATHS[prepared.dialect]
    return prepared._replace(facts=placed(prepared.facts, endpoint.base_url.rstrip("/") + path))


def placed(facts: CallFacts, url: str) -> CallFacts:
    """A call that is sent to another URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = url.partition(parts.netloc)[2] or "/"
    return replace(facts, scheme=parts.scheme, host=parts.hostname or "", port=port, path=path)


def neutral(origin: Origin) -> Neutral:
    """A call in nobody's dialect."""
    asked = list(origin.messages[: origin.own])
    system, rest = calls.parted(asked, Spoken(origin.call, ()))
    return Neutral(
        system,
        tuple(Message.recorded(message, origin.facts.dialect) for message in rest),
        tuple(_tools(origin)),
        dict(_settings(rebuild.inner(origin.body))),
    )


def _tools(origin: Origin) -> Iterator[tuple[str, str, dict[str, object]]]:
    for tool in tools_of(origin.call):
        function = wirejson.mapping(tool["function"])
        schema = dict(wirejson.mapping(function.get("parameters")))
        # Older dialects write the types of JSON in capitals.
        plain = json.loads(json.dumps(schema), object_hook=_in_small_letters)
        yield str(function["name"]), wirejson.string(function.get("description")), plain


def _in_small_letters(schema: dict[str, object]) -> dict[str, object]:
    type = schema.get("type")
    return schema | {"type": type.lower()} if isinstance(type, str) else schema


def _settings(body: bytes) -> Iterator[tuple[str, object]]:
    said = wirejson.decode(body)
    for name, places in _SETTINGS.items():
        found = (wirejson.at(said, *place) for place in places)
        value = next((each for each in found if isinstance(each, int | float)), None)
        if value is not None:
            yield name, value
