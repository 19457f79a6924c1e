"""Cohere Chat, second version: https://docs.cohere.com/reference/chat.

Messages have the shape of OpenAI's, but for documents and for the plan before tool calls, which is
left out as thinking is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callerid.turn import (
    Call,
    Dialect,
    Part,
    Reply,
    Role,
    Stood,
    ToolResult,
    Usage,
)
from callerid.wire import growing, sse, wirejson
from callerid.wire.dialects import openai_chat
from callerid.wire.messages import MessageReader, members_with
from callerid.wire.wirejson import at, count, mapping, sequence, string

NAME = Dialect.COHERE
PATH = re.compile(r"/v2/chat$")

_KEPT = {"tools": Stood.TOOLS, "messages": Stood.MESSAGES}


def fits(members: Mapping[str, bytes]) -> bool:
    """A list of messages."""
    return openai_chat.fits(members)


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; the system prompt is its leading system messages."""
    messages = reader.read(NAME, growing.items(members, "messages"), read_parts)
    tools_raw = members.get("tools", b"")
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true",
        system=openai_chat.leading_system_text(messages),
        tools=reader.prompt(tools_raw, openai_chat.tool_names),
        messages=messages,
        members=members_with(members, _KEPT),
        tools_raw=tools_raw,
    )


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply, or an error, which is a message and no more."""
    said = at(body, "message")
    parts = read_parts(said)[1] if isinstance(said, dict) else ()
    error = at(body, "error")
    return Reply(
        messages=(reader.make(wirejson.encode(said), Role.ASSISTANT, parts),) if parts else (),
        stop_reason=string(at(body, "finish_reason")),
        response_id=string(at(body, "id")),
        usage=read_usage(at(body, "usage")),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(error, "message")) or string(said),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message."""
    content = at(value, "content")
    if at(value, "role") != "tool" or isinstance(content, str):
        return openai_chat.read_parts(value)
    said = "\n".join(_document(block) for block in sequence(content))
    return Role.TOOL, (ToolResult(string(at(value, "tool_call_id")), said),)


def _document(block: object) -> str:
    """What a tool found: a text, or a document whose data is a text or an object."""
    data = at(block, "document", "data") or at(block, "text")
    return (
        data if isinstance(data, str) else wirejson.encode_sorted(data).decode("utf-8", "replace")
    )


def read_usage(usage: object) -> Usage:
    """The tokens of both versions; those billed are fewer, since Cohere's own prompts are free."""
    if not isinstance(usage, dict):
        return Usage()
    tokens = usage.get("tokens") or usage.get("billed_units")
    return Usage(
        input_tokens=count(at(tokens, "input_tokens")),
        output_tokens=count(at(tokens, "output_tokens")),
        cache_read_input_tokens=count(usage.get("cached_tokens")),
        raw=wirejson.encode(usage),
    )


class Stream:
    """Puts a message together from message-start, content-*, tool-* and message-end events."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._message: dict[str, object] = {}
        self._blocks: dict[int, dict[str, object]] = {}
        self._calls: dict[int, dict[str, object]] = {}
        self._pieces: dict[tuple[str, int], list[str]] = {}

    def take(self, event: sse.Event) -> None:
        """Read one event; [DONE] comes after the last."""
        if event.data.strip() == b"[DONE]":
            return
        data = wirejson.decode(event.data)
        take = _TAKE.get(string(at(data, "type")) or event.name)
        if take is not None:
            take(self, mapping(data), mapping(at(data, "delta", "message")))

    def body(self) -> object:
        """The reply so far, in its unstreamed shape."""
        message = {name: value for name, value in self._message.items() if value}
        if plan := self._joined("plan", 0):
            message["tool_plan"] = plan
        if self._blocks:
            message["content"] = [self._block(index) for index in sorted(self._blocks)]
        if self._calls:
            message["tool_calls"] = [self._call(index) for index in sorted(self._calls)]
        return {**self._body, **({"message": message} if message else {})}

    def _start(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        self._body["id"] = data.get("id")
        self._message = dict(said)

    def _content(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        index = _index(data)
        block = self._blocks.setdefault(index, {"type": "text"})
        for name, value in mapping(said.get("content")).items():
            if name in ("text", "thinking"):
                self._add(name, index, value)
            else:
                block[name] = value

    def _plan(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        self._add("plan", 0, said.get("tool_plan"))

    def _ask(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        index = _index(data)
        before, more = self._calls.get(index, {}), mapping(said.get("tool_calls"))
        asked = {**mapping(before.get("function")), **mapping(more.get("function"))}
        self._add("arguments", index, asked.pop("arguments", ""))
        self._calls[index] = {**before, **more, "function": asked}

    def _end(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        self._body.update(mapping(data.get("delta")))
        self.is_complete = True

    def _fail(self, data: Mapping[str, object], said: Mapping[str, object]) -> None:
        self._body["error"] = data.get("error") or data

    def _add(self, name: str, index: int, piece: object) -> None:
        self._pieces.setdefault((name, index), []).append(string(piece))

    def _joined(self, name: str, index: int) -> str:
        return "".join(self._pieces.get((name, index), []))

    def _block(self, index: int) -> dict[str, object]:
        block = self._blocks[index]
        name = "thinking" if block.get("type") == "thinking" else "text"
        return {**block, name: self._joined(name, index)}

    def _call(self, index: int) -> dict[str, object]:
        call = self._calls[index]
        function = {**mapping(call["function"]), "arguments": self._joined("arguments", index)}
        return {**call, "function": function}


def _index(data: Mapping[str, object]) -> int:
    return count(data.get("index")) or 0


_TAKE = {
    "message-start": Stream._start,
    "content-start": Stream._content,
    "content-delta": Stream._content,
    "tool-plan-delta": Stream._plan,
    "tool-call-start": Stream._ask,
    "tool-call-delta": Stream._ask,
    "message-end": Stream._end,
    "error": Stream._fail,
}
