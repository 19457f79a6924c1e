"""Anthropic Messages: https://docs.anthropic.com/en/api/messages.

Vertex takes the same body at `.../models/MODEL:rawPredict`, with the model in the path, and counts
tokens at `.../models/count-tokens:rawPredict`
(https://docs.anthropic.com/en/api/claude-on-vertex-ai).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callerid.turn import (
    Call,
    Dialect,
    Kind,
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

NAME = Dialect.ANTHROPIC
PATH = re.compile(
    r"(/messages(/count_tokens)?|/publishers/anthropic/models/[^/]+:(rawPredict|streamRawPredict))$"
)

_MODEL = re.compile(r"/models/(?!count-tokens:)([^/:]+):")
_COUNTS = ("/count_tokens", "/count-tokens:rawPredict")
_KEPT = {"system": Stood.SYSTEM, "tools": Stood.TOOLS, "messages": Stood.MESSAGES}
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
# What the server does by itself is answered in the same turn, and some clients drop it.
_NOT_HISTORY = ("thinking", "redacted_thinking", "server_tool_use", "fallback")
_PIECEMEAL = ("text", "thinking", "signature", "partial_json")


def fits(members: Mapping[str, bytes]) -> bool:
    """A list of messages."""
    return members.get("messages", b"").startswith(b"[")


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call of Messages or of count_tokens."""
    system_raw, tools_raw = members.get("system", b""), members.get("tools", b"")
    in_path = _MODEL.search(path)
    return Call(
        dialect=NAME,
        model=in_path[1] if in_path else string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true" or path.endswith(":streamRawPredict"),
        system=reader.prompt(system_raw, system_text),
        tools=reader.prompt(tools_raw, tool_names),
        messages=reader.read(NAME, growing.items(members, "messages"), read_parts),
        kind=Kind.COUNT_TOKENS if path.endswith(_COUNTS) else Kind.MAIN,
        previous_response_id=string(
            at(wirejson.decode(members.get("diagnostics", b"null")), "previous_message_id")
        ),
        members=members_with(members, _KEPT),
        system_raw=system_raw,
        tools_raw=tools_raw,
    )


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a message, a count of tokens, an error, or what came before an error."""
    error = mapping(at(body, "error"))
    content = at(body, "content")
    raw = wirejson.encode({"role": "assistant", "content": content})
    return Reply(
        messages=(reader.make(raw, Role.ASSISTANT, _parts(content)),) if content else (),
        stop_reason=string(at(body, "stop_reason")),
        model=string(at(body, "model")),
        response_id=string(at(body, "id")),
        usage=read_usage(body if at(body, "input_tokens") is not None else at(body, "usage")),
        error=(string(error.get("type")) or "error") if error else "",
        error_message=string(error.get("message")),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message."""
    role = _ROLES.get(string(at(value, "role")), Role.USER)
    return role, _parts(at(value, "content"))


def _parts(content: object) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    parts = (_part(mapping(block)) for block in sequence(content))
    return tuple(part for part in parts if part is not None)


def _part(block: Mapping[str, object]) -> Part | None:
    type = string(block.get("type"))
    if type == "text":
        return Text(string(block.get("text")))
    if type == "tool_use":
        return ToolCall(string(block.get("id")), string(block.get("name")), block.get("input"))
    if type == "tool_result":
        return _tool_result(block)
    if type in _NOT_HISTORY or type.endswith("_tool_result"):
        return None
    return canonical.opaque(type, block)


def _tool_result(block: Mapping[str, object]) -> ToolResult:
    parts = _parts(block.get("content"))
    said = [part.content.hex() if isinstance(part, Opaque) else _words(part) for part in parts]
    return ToolResult(string(block.get("tool_use_id")), "\n".join(said))


def _words(part: Part) -> str:
    return part.text if isinstance(part, Text | ToolResult) else ""


def system_text(system: object) -> str:
    """The words of a system prompt: a text or a list of text blocks."""
    if isinstance(system, str):
        return system
    return "\n".join(string(at(block, "text")) for block in sequence(system))


def tool_names(tools: object) -> tuple[str, ...]:
    """The names of the tools, in the order sent."""
    return tuple(string(at(tool, "name")) or string(at(tool, "type")) for tool in sequence(tools))


def read_usage(usage: object) -> Usage:
    """The tokens; `input_tokens` leaves cached ones out, as the provider counts."""
    if not isinstance(usage, dict):
        return Usage()
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_input_tokens=count(usage.get("cache_read_input_tokens")),
        cache_creation_input_tokens=count(usage.get("cache_creation_input_tokens")),
        cache_creation_1h_input_tokens=count(
            at(usage, "cache_creation", "ephemeral_1h_input_tokens")
        ),
        reasoning_tokens=count(at(usage, "output_tokens_details", "thinking_tokens")),
        cache_is_apart=True,
        raw=wirejson.encode(usage),
    )


class Stream:
    """Puts a message together from message_start, content_block_* and message_delta events."""

    def __init__(self) -> None:
        self.is_complete = False
        self._message: dict[str, object] = {}
        self._usage: dict[str, object] = {}
        self._blocks: dict[int, dict[str, object]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._error: object = None

    def take(self, event: sse.Event) -> None:
        """Read one event."""
        data = wirejson.decode(event.data)
        take = _TAKE.get(string(at(data, "type")) or event.name)
        if take is not None:
            take(self, data)

    def body(self) -> object:
        """The message so far, or the error that ended it."""
        content = [self._finished(index) for index in sorted(self._blocks)]
        body = {**self._message, "content": content, "usage": self._usage or None}
        return body if self._error is None else {**body, "type": "error", "error": self._error}

    def _start(self, data: object) -> None:
        self._message = dict(mapping(at(data, "message")))
        self._usage.update(mapping(self._message.get("usage")))

    def _block_start(self, data: object) -> None:
        self._blocks[count(at(data, "index")) or 0] = dict(mapping(at(data, "content_block")))

    def _block_delta(self, data: object) -> None:
        index = count(at(data, "index")) or 0
        block = self._blocks.setdefault(index, {})
        delta = mapping(at(data, "delta"))
        for name in _PIECEMEAL:
            if isinstance(delta.get(name), str):
                self._pieces.setdefault((index, name), []).append(string(delta[name]))
        if "citation" in delta:
            block["citations"] = [*sequence(block.get("citations")), delta["citation"]]

    def _message_delta(self, data: object) -> None:
        self._message.update(mapping(at(data, "delta")))
        counted = mapping(at(data, "usage")).items()
        self._usage.update({name: value for name, value in counted if value is not None})

    def _stop(self, data: object) -> None:
        self.is_complete = True

    def _fail(self, data: object) -> None:
        self._error = at(data, "error") or {"type": "error"}

    def _finished(self, index: int) -> dict[str, object]:
        block = dict(self._blocks[index])
        for name in _PIECEMEAL:
            if pieces := "".join(self._pieces.get((index, name), [])):
                block[name] = string(block.get(name)) + pieces
        if pieces := string(block.pop("partial_json", "")):
            block["input"] = wirejson.decode_or_text(pieces)
        return block


_TAKE = {
    "message_start": Stream._start,
    "content_block_start": Stream._block_start,
    "content_block_delta": Stream._block_delta,
    "message_delta": Stream._message_delta,
    "message_stop": Stream._stop,
    "error": Stream._fail,
}
