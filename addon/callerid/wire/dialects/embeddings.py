"""Embeddings: texts in, vectors out; no conversation.

OpenAI (https://platform.openai.com/docs/api-reference/embeddings) and those who speak it, Ollama
(https://github.com/ollama/ollama/blob/main/docs/api.md), Cohere
(https://docs.cohere.com/reference/embed), and Titan, Nova and Cohere at Bedrock's InvokeModel
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callerid.turn import Call, Dialect, Kind, Part, Reply, Role, Usage
from callerid.wire import sse, wirejson
from callerid.wire.dialects import completions, openai_chat
from callerid.wire.dialects.completions import found
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import at, count, string

NAME = Dialect.EMBEDDINGS
PATH = re.compile(r"/embeddings$|/api/embed$|/v[12]/embed$")

# Where the texts stand, and where the tokens are counted.
_INPUTS = ("input", "prompt", "texts", "inputText", "singleEmbeddingParams.text.value", "inputs")
_COUNTS = ("usage.prompt_tokens", "inputTextTokenCount", "prompt_eval_count",
           "meta.billed_units.input_tokens", "usage.total_tokens")  # fmt: skip


def fits(members: Mapping[str, bytes]) -> bool:
    """Something to embed."""
    return any(place.partition(".")[0] in members for place in _INPUTS)


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; each of its texts is a message."""
    body = {name: wirejson.decode(raw) for name, raw in members.items()}
    given = next(filter(None, (found(body, place) for place in _INPUTS)), None)
    items = given if isinstance(given, list) and not _are_tokens(given) else [given]
    said = [{"role": "user", "content": item} for item in items if item is not None]
    return Call(
        dialect=NAME,
        model=string(body.get("model")),
        streams=False,
        system="",
        tools=(),
        messages=reader.read(NAME, map(wirejson.encode, said), read_parts),
        kind=Kind.EMBEDDING,
        members=tuple(members.items()),
    )


def _are_tokens(items: list[object]) -> bool:
    return all(isinstance(item, int) for item in items)


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read what is said beside the vectors, or an error."""
    error = at(body, "error")
    tokens = next(filter(None, (found(body, place) for place in _COUNTS)), None)
    return Reply(
        model=string(at(body, "model")),
        response_id=string(at(body, "id")),
        usage=Usage(count(tokens), raw=_raw_usage(body)),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(error, "message")) or string(at(body, "message")),
    )


def _raw_usage(body: object) -> bytes:
    usage = at(body, "usage") or at(body, "meta")
    return wirejson.encode(usage) if usage else b""


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one thing to embed: a text, tokens, or something else."""
    return completions.read_parts(value)


class Stream:
    """Takes events as they come; nobody is known to send any."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: object = None

    def take(self, event: sse.Event) -> None:
        """Read one event."""
        self._body = wirejson.decode(event.data)

    def body(self) -> object:
        """What came last."""
        return self._body
