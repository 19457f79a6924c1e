"""Bedrock Converse: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.

Amazon's Nova models take the same body and give the same reply at InvokeModel; there each event of
a stream is wrapped in an object, under its name
(https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from callerid.turn import (
    Call,
    Dialect,
    Opaque,
    Part,
    Reply,
    Role,
    Stood,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from callerid.wire import canonical, growing, sse, wirejson
from callerid.wire.messages import MessageReader, members_with
from callerid.wire.wirejson import at, count, mapping, sequence, string

NAME = Dialect.BEDROCK_CONVERSE
PATH = re.compile(r"/model/[^/]+(/[^/]+)?/converse(-stream)?$")  # an ARN may hold a slash

_MODEL = re.compile(r"/model/([^/]+(?:/[^/]+)?)/[a-z-]+$")
_KEPT = {"system": Stood.SYSTEM, "toolConfig": Stood.TOOLS, "messages": Stood.MESSAGES}
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}


def fits(members: Mapping[str, bytes]) -> bool:
    """A list of messages."""
    return members.get("messages", b"").startswith(b"[")


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; the model stands in the path, and so does whether the reply is streamed."""
    system_raw, tools_raw = members.get("system", b""), members.get("toolConfig", b"")
    return Call(
        dialect=NAME,
        model=model_in(path),
        streams=path.endswith("-stream"),
        system=reader.prompt(system_raw, _system_text),
        tools=reader.prompt(tools_raw, _tool_names),
        messages=reader.read(NAME, growing.items(members, "messages"), read_parts),
        members=members_with(members, _KEPT),
        system_raw=system_raw,
        tools_raw=tools_raw,
    )


def model_in(path: str) -> str:
    """The id of the model, or of what leads to one (an ARN), that a path of Bedrock names."""
    found = _MODEL.search(path)
    return unquote(found[1]) if found else ""


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply, a count of tokens, or an error, whose kind only the headers and streams say."""
    message = mapping(at(body, "output", "message"))
    parts = _parts(message.get("content"))
    raw = wirejson.encode(message)
    error = at(body, "error")
    return Reply(
        messages=(reader.make(raw, Role.ASSISTANT, parts),) if parts else (),
        stop_reason=string(at(body, "stopReason")),
        model=string(at(body, "trace", "promptRouter", "invokedModelId")),
        usage=read_usage(at(body, "usage") or body),
        error=(string(at(error, "type")) or "error") if error else "",
        error_message=string(at(error, "message")) or string(at(body, "message")),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message."""
    role = _ROLES.get(string(at(value, "role")), Role.USER)
    return role, _parts(at(value, "content"))


def _parts(content: object) -> tuple[Part, ...]:
    parts = (_part(mapping(block)) for block in sequence(content))
    return tuple(part for part in parts if part is not None)


def _part(block: Mapping[str, object]) -> Part | None:
    """What a block says; its one member names its kind."""
    name, value = next(iter(block.items()), ("", None))
    read = _BLOCKS.get(name)
    return read(value) if read else canonical.opaque(name, mapping(value)) if name else None


def _text(value: object) -> Part | None:
    return Text(string(value)) if value else None


def _guarded(value: object) -> Part | None:
    if "text" not in mapping(value):
        return canonical.opaque("guardContent", value)
    return _text(at(value, "text", "text"))


def _cited(value: object) -> Part | None:
    return _text("".join(string(at(piece, "text")) for piece in sequence(at(value, "content"))))


def _tool_call(value: object) -> Part | None:
    asked = mapping(value)
    if asked.get("type") == "server_tool_use":  # answered in the same turn
        return None
    return ToolCall(string(asked.get("toolUseId")), string(asked.get("name")), asked.get("input"))


def _tool_result(value: object) -> Part | None:
    if "type" in mapping(value):  # of a tool that the server ran
        return None
    said = [_answered(mapping(block)) for block in sequence(at(value, "content"))]
    return ToolResult(string(at(value, "toolUseId")), "\n".join(said))


def _answered(block: Mapping[str, object]) -> str:
    if "json" in block:
        return wirejson.encode_sorted(block["json"]).decode("utf-8", "replace")
    part = _part(block)
    return part.content.hex() if isinstance(part, Opaque) else _words(part)


def _words(part: Part | None) -> str:
    return part.text if isinstance(part, Text) else ""


def _unsaid(value: object) -> Part | None:
    return None


_BLOCKS: dict[str, Callable[[object], Part | None]] = {
    "text": _text,
    "guardContent": _guarded,
    "citationsContent": _cited,
    "toolUse": _tool_call,
    "toolResult": _tool_result,
    "reasoningContent": _unsaid,
    "cachePoint": _unsaid,
}


def _system_text(system: object) -> str:
    if isinstance(system, str):
        return system
    return "\n".join(filter(None, (_words(_part(mapping(block))) for block in sequence(system))))


def _tool_names(config: object) -> tuple[str, ...]:
    tools = (mapping(tool) for tool in sequence(at(config, "tools")))
    declared = (tool.get("toolSpec") or tool.get("systemTool") for tool in tools)
    return tuple(string(at(tool, "name")) for tool in declared if tool)


def read_usage(usage: object) -> Usage:
    """The tokens; `input_tokens` leaves cached ones out, as the provider counts."""
    counted = mapping(usage)
    if "inputTokens" not in counted:
        return Usage()
    # Nova's own names, at InvokeModel, end in Count.
    read = counted.get("cacheReadInputTokens", counted.get("cacheReadInputTokenCount"))
    written = counted.get("cacheWriteInputTokens", counted.get("cacheWriteInputTokenCount"))
    return Usage(
        input_tokens=count(counted.get("inputTokens")),
        output_tokens=count(counted.get("outputTokens")),
        cache_read_input_tokens=count(read),
        cache_creation_input_tokens=count(written),
        cache_creation_1h_input_tokens=_written_for_an_hour(counted),
        cache_is_apart=True,
        raw=wirejson.encode(usage),
    )


def _written_for_an_hour(usage: Mapping[str, object]) -> int | None:
    parts = [part for part in sequence(usage.get("cacheDetails")) if at(part, "ttl") == "1h"]
    return sum(count(at(part, "inputTokens")) or 0 for part in parts) if parts else None


class Stream:
    """Puts a message together from messageStart, contentBlock* and messageStop events."""

    def __init__(self) -> None:
        self.is_complete = False
        self._message: dict[str, object] = {"role": "assistant"}
        self._rest: dict[str, object] = {}
        self._blocks: dict[int, dict[str, object]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def take(self, event: sse.Event) -> None:
        """Read one event, bare or wrapped in an object under its name."""
        data = mapping(wirejson.decode(event.data))
        name = event.name or next((name for name in data if name in _TAKE), "")
        take = _TAKE.get(name)
        if take is not None:
            take(self, data if event.name else mapping(data[name]))

    def body(self) -> object:
        """The reply so far; the usage comes after its end."""
        content = [self._finished(index) for index in sorted(self._blocks)]
        return {"output": {"message": {**self._message, "content": content}}, **self._rest}

    def _start(self, data: Mapping[str, object]) -> None:
        self._message["role"] = data.get("role") or "assistant"

    def _block_start(self, data: Mapping[str, object]) -> None:
        self._blocks[_index(data)] = dict(mapping(data.get("start")))

    def _block_delta(self, data: Mapping[str, object]) -> None:
        index = _index(data)
        block = self._blocks.setdefault(index, {})
        delta = mapping(data.get("delta"))
        for place, piece in _pieces_of(delta):
            self._pieces.setdefault((index, place), []).append(piece)
        if "toolResult" in delta:
            begun = mapping(block.get("toolResult"))
            content = [*sequence(begun.get("content")), *sequence(delta["toolResult"])]
            block["toolResult"] = {**begun, "content": content}

    def _stop(self, data: Mapping[str, object]) -> None:
        self._rest["stopReason"] = data.get("stopReason")
        self.is_complete = True

    def _measure(self, data: Mapping[str, object]) -> None:
        known = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
        self._rest.update({name: data[name] for name in known if name in data})

    def _fail(self, data: Mapping[str, object]) -> None:
        self._rest["error"] = data.get("error") or data

    def _finished(self, index: int) -> dict[str, object]:
        block = dict(self._blocks[index])
        joined = {p: "".join(pieces) for (i, p), pieces in self._pieces.items() if i == index}
        if "text" in joined:
            block["text"] = joined["text"]
        if "toolUse" in block:
            asked = wirejson.decode_or_text(joined.get("input", "")) or {}
            block["toolUse"] = {**mapping(block["toolUse"]), "input": asked}
        if "reasoning" in joined or "signature" in joined:
            thought = {"text": joined.get("reasoning"), "signature": joined.get("signature")}
            block["reasoningContent"] = {"reasoningText": thought}
        return block


def _index(data: Mapping[str, object]) -> int:
    return count(data.get("contentBlockIndex")) or 0


def _pieces_of(delta: Mapping[str, object]) -> list[tuple[str, str]]:
    """The pieces of text in a delta, each with where it belongs."""
    found = [
        ("text", delta.get("text")),
        ("input", at(delta.get("toolUse"), "input")),
        ("reasoning", at(delta.get("reasoningContent"), "text")),
        ("signature", at(delta.get("reasoningContent"), "signature")),
    ]
    return [(place, piece) for place, piece in found if isinstance(piece, str)]


_TAKE = {
    "messageStart": Stream._start,
    "contentBlockStart": Stream._block_start,
    "contentBlockDelta": Stream._block_delta,
    "messageStop": Stream._stop,
    "metadata": Stream._measure,
    "error": Stream._fail,
}
