"""Bedrock InvokeModel: the body is the model's own, so the dialect of its maker reads it.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html. The id of the
model stands in the path; it may be an ARN that does not say whose it is, so the shape of the body
decides. What a reply does not count itself stands in its headers.

CountTokens takes the body of this operation or of Converse
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from callerid.turn import Call, HeaderList, Kind, Usage
from callerid.wire import wirejson
from callerid.wire.dialects import (
    anthropic,
    bedrock_converse,
    cohere_v1,
    completions,
    embeddings,
    openai_chat,
)
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import at, sequence, string

PATH = re.compile(r"/model/[^/]+(/[^/]+)?/(invoke|invoke-with-response-stream|count-tokens)$")

_HEADER = re.compile(r"x-amzn-bedrock-([a-z-]{1,40})-token-count")
_NUMBER = re.compile(r"[0-9]{1,15}")

Body = Mapping[str, bytes]
ReadCall = Callable[[str, Body, MessageReader], Call]


def fits(members: Body) -> bool:
    """The body of a model that is known."""
    return any(fits(members) for fits, _ in _READERS)


def read_call(path: str, members: Body, reader: MessageReader) -> Call:
    """Read a call by the shape of its body, for the model that the path names."""
    model = bedrock_converse.model_in(path)
    read = next(read for fits, read in _READERS if fits(members))
    if read is completions.read_call and "embed" in model:  # Titan is asked for both alike
        read = embeddings.read_call
    call = read(path, members, reader)
    return replace(call, model=model, streams=path.endswith("-response-stream"))


def usage_in(headers: HeaderList) -> Usage:
    """The tokens that the headers of a reply count."""
    counted = {
        found[1]: int(value)
        for name, value in headers
        if (found := _HEADER.fullmatch(name.lower())) and _NUMBER.fullmatch(value)
    }
    if not counted:
        return Usage()
    return Usage(
        input_tokens=counted.get("input"),
        output_tokens=counted.get("output"),
        cache_read_input_tokens=counted.get("cache-read-input"),
        cache_creation_input_tokens=counted.get("cache-write-input"),
        cache_is_apart=True,
        raw=wirejson.encode(counted),
    )


def _read_count(path: str, members: Body, reader: MessageReader) -> Call:
    """Read a call that counts; the body stands inside another, as JSON or packed."""
    inner = wirejson.members(members["input"])
    if "converse" in inner:
        call = bedrock_converse.read_call(path, wirejson.members(inner["converse"]), reader)
    else:
        packed = string(at(wirejson.decode(inner.get("invokeModel", b"null")), "body"))
        call = _read_packed(path, packed, reader)
    return replace(
        call,
        dialect=bedrock_converse.NAME,
        kind=Kind.COUNT_TOKENS,
        members=tuple(members.items()),
    )


def _read_packed(path: str, packed: str, reader: MessageReader) -> Call:
    try:
        body = binascii.a2b_base64(packed)
    except ValueError as error:
        raise wirejson.NotJSON(f"expected JSON in base64, got {error}") from None
    members = wirejson.members(body)
    if not fits(members):
        raise wirejson.NotJSON("expected the body of a model that is known, got another")
    return read_call(path, members, reader)


def _is_count(members: Body) -> bool:
    inner = wirejson.decode(members.get("input", b"null"))
    return isinstance(at(inner, "converse", "messages"), list) or "body" in wirejson.mapping(
        at(inner, "invokeModel")
    )


def _is_anthropic(members: Body) -> bool:
    return "anthropic_version" in members and anthropic.fits(members)


def _is_nova(members: Body) -> bool:
    """Whether the content of the messages is a list of blocks that have no type."""
    first = next(iter(sequence(wirejson.decode(members.get("messages", b"null")))), None)
    block = next(iter(sequence(at(first, "content"))), None)
    return isinstance(block, dict) and "type" not in block


def _is_embedding(members: Body) -> bool:
    """Whether there is something that only embeddings are asked with."""
    return any(name in members for name in _OF_EMBEDDINGS)


_OF_EMBEDDINGS = ("texts", "singleEmbeddingParams", "dimensions", "normalize", "embeddingTypes")
_READERS: tuple[tuple[Callable[[Body], bool], ReadCall], ...] = (
    (_is_count, _read_count),
    (_is_anthropic, anthropic.read_call),
    (_is_nova, bedrock_converse.read_call),
    (openai_chat.fits, openai_chat.read_call),
    (cohere_v1.fits, cohere_v1.read_call),
    (_is_embedding, embeddings.read_call),
    (completions.fits, completions.read_call),
)
