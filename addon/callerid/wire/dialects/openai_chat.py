"""OpenAI Chat Completions, and the many who speak it.

https://platform.openai.com/docs/api-reference/chat; Writer at `/v1/chat`
(https://dev.writer.com/api-reference/completion-api/chat-completion), Mistral on Vertex
(https://docs.mistral.ai/deployment/cloud/vertex) and several models at Bedrock's InvokeModel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile

from callerid.turn import (
    Call,
    Dialect,
    Message,
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

NAME = Dialect.OPENAI_CHAT
PATH = re.compile(
    r"(/chat/completions|/v1/chat|/publishers/mistralai/models/[^/]+:(rawPredict|streamRawPredict))$"
)

_KEPT = {"tools": Stood.TOOLS, "messages": Stood.MESSAGES}
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
_DONE = b"[DONE]"
_MEASURED = "amazon-bedrock-invocationMetrics"  # what Bedrock has instead, in the last chunk


def fits(members: Mapping[str, bytes]) -> bool:
    """A list of messages."""
    return members.get("messages", b"").startswith(b"[")


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; the system prompt is its leading system and developer messages."""
    messages = reader.read(NAME, growing.items(members, "messages"), read_parts)
    tools_raw = members.get("tools", members.get("functions", b""))
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true",
        system=leading_system_text(messages),
        tools=reader.prompt(tools_raw, tool_names),
        messages=messages,
        members=members_with(members, _KEPT),
        tools_raw=members.get("tools", b""),
    )


def leading_system_text(messages: Iterable[Message]) -> str:
    """The words of the system messages before anything else was said.

    Later ones are notes of the client on the way (a date, a list of tools), not who is asking.
    """
    system = takewhile(lambda message: message.role is Role.SYSTEM, messages)
    return "\n".join(message.text for message in system if message.text)


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a completion, an error, or both where a stream broke off; the first choice is it."""
    error = at(body, "error")
    choices = sequence(at(body, "choices"))
    choice = choices[0] if choices else None
    others = (_said(choice, reader) for choice in choices[1:])
    return Reply(
        messages=_said(choice, reader),
        others=tuple(message for said in others for message in said),
        stop_reason=string(at(choice, "finish_reason")),
        model=string(at(body, "model")),
        response_id=string(at(body, "id")),
        usage=read_usage(at(body, "usage") or at(body, "x_groq", "usage")),
        error=error_type(error) if error else "",
        error_message=string(at(error, "message")) or string(error),
    )


def _said(choice: object, reader: MessageReader) -> tuple[Message, ...]:
    message = at(choice, "message")
    parts = read_parts(message)[1] if message else ()
    return (reader.make(wirejson.encode(message), Role.ASSISTANT, parts),) if parts else ()


def error_type(error: object) -> str:
    """The word for an error: OpenAI's `type`, or the `code` that others use instead."""
    word = at(error, "type") or at(error, "code") or "error"
    return str(word)


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message."""
    message = mapping(value)
    role = _ROLES.get(string(message.get("role")), Role.USER)
    if role is Role.TOOL:
        return role, (_tool_result(message),)
    return role, (*content_parts(message.get("content")), *_calls(message))


def content_parts(content: object) -> tuple[Part, ...]:
    """The parts of a message's content: a text, or a list of blocks."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    parts = (_part(mapping(block)) for block in sequence(content))
    return tuple(part for part in parts if part is not None)


def _part(block: Mapping[str, object]) -> Part | None:
    type = string(block.get("type"))
    if type in ("text", "refusal", "input_text", "output_text"):
        return Text(string(block.get("text")) or string(block.get("refusal")))
    if type in ("thinking", "reasoning"):
        return None
    return canonical.opaque(type, block)


def _calls(message: Mapping[str, object]) -> tuple[Part, ...]:
    calls = [_call(string(at(call, "id")), call) for call in sequence(message.get("tool_calls"))]
    if legacy := message.get("function_call"):
        calls.append(_call("", {"function": legacy}))
    return tuple(call for call in calls if call.name)


def _call(id: str, call: object) -> ToolCall:
    asked = at(call, "function") or at(call, "custom")
    arguments = at(asked, "arguments") or at(asked, "input") or {}
    value = wirejson.decode_or_text(arguments) if isinstance(arguments, str) else arguments
    return ToolCall(id, string(at(asked, "name")), value)


def _tool_result(message: Mapping[str, object]) -> ToolResult:
    content = message.get("content")
    said = content if isinstance(content, str) else _words(content_parts(content))
    return ToolResult(string(message.get("tool_call_id")), said)


def _words(parts: tuple[Part, ...]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def tool_names(tools: object) -> tuple[str, ...]:
    """The names of the tools (or of the older `functions`), in the order sent."""
    return tuple(
        string(at(tool, "function", "name"))
        or string(at(tool, "custom", "name"))
        or string(at(tool, "name"))
        or string(at(tool, "type"))
        for tool in sequence(tools)
    )


def read_usage(usage: object) -> Usage:
    """The tokens; `input_tokens` includes cached ones, as the provider counts."""
    if not isinstance(usage, dict):
        return Usage()
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cache_read_input_tokens=count(at(usage, "prompt_tokens_details", "cached_tokens")),
        reasoning_tokens=count(at(usage, "completion_tokens_details", "reasoning_tokens")),
        raw=wirejson.encode(usage),
    )


class Stream:
    """Puts a completion together from its chunks, which end with `[DONE]`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._choices: dict[int, _Choice] = {}

    def take(self, event: sse.Event) -> None:
        """Read one event; a provider's error may come as an event too."""
        if event.data.strip() == _DONE:
            self.is_complete = True
            return
        chunk = mapping(wirejson.decode(event.data))
        for name, value in chunk.items():
            is_named = name == "id" and self._body.get(
                "id"
            )  # some name their last chunks otherwise
            if name != "choices" and not is_named and (value is not None or name not in self._body):
                self._body[name] = value
        for choice in sequence(chunk.get("choices")):
            index = count(at(choice, "index")) or 0
            self._choices.setdefault(index, _Choice()).take(mapping(choice))
        self.is_complete = self.is_complete or _MEASURED in chunk

    def body(self) -> object:
        """The completion so far, in its unstreamed shape."""
        choices = [{"index": i, **self._choices[i].body()} for i in sorted(self._choices)]
        shape = {"object": "chat.completion"} if "object" in self._body else {}
        return {**self._body, **shape, "choices": choices}


class _Choice:
    def __init__(self) -> None:
        self._message: dict[str, object] = {}
        self._pieces: dict[str, list[str]] = {}
        self._calls: dict[int, _CallPieces] = {}
        self._last_index = 0
        self._rest: dict[str, object] = {}

    def take(self, choice: Mapping[str, object]) -> None:
        # Some send one whole message in the stream instead of a delta.
        delta = mapping(choice.get("delta") or choice.get("message"))
        for name, value in delta.items():
            if name == "tool_calls":
                for call in sequence(value):
                    self._take_call(mapping(call))
            elif name == "function_call":
                self._calls.setdefault(-1, _CallPieces()).take({"function": value})
            elif isinstance(value, str) and name != "role":
                self._pieces.setdefault(name, []).append(value)
            elif value is not None:
                self._message[name] = value
        for name, value in choice.items():
            if name not in ("delta", "message", "index") and value is not None:
                self._rest[name] = value

    def _take_call(self, call: Mapping[str, object]) -> None:
        index = count(call.get("index"))
        if index is None:  # Some leave the index out: a call with a new id is a new call.
            starts = bool(call.get("id")) and self._calls
            index = self._last_index + 1 if starts else self._last_index
        self._last_index = index
        self._calls.setdefault(index, _CallPieces()).take(call)

    def body(self) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": None, **self._message}
        message.update({name: "".join(pieces) for name, pieces in self._pieces.items()})
        if -1 in self._calls:
            message["function_call"] = self._calls[-1].body().get("function")
        calls = [self._calls[index].body() for index in sorted(self._calls) if index >= 0]
        if calls:
            message["tool_calls"] = calls
        return {"message": message, **self._rest}


_PIECES = {"function": "arguments", "custom": "input"}  # what comes in pieces, by kind of tool


class _CallPieces:
    def __init__(self) -> None:
        self._call: dict[str, object] = {}
        self._kind = "function"
        self._asked: dict[str, object] = {}
        self._pieces: list[str] = []

    def take(self, call: Mapping[str, object]) -> None:
        self._kind = next((kind for kind in _PIECES if kind in call), self._kind)
        asked = mapping(call.get(self._kind))
        self._pieces.append(string(asked.get(_PIECES[self._kind])))
        if name := string(asked.get("name")):
            self._asked.setdefault("name", name)
        for key, value in call.items():
            if key not in ("index", *_PIECES) and value:
                self._call.setdefault(key, value)

    def body(self) -> dict[str, object]:
        asked = {**self._asked, _PIECES[self._kind]: "".join(self._pieces)}
        return {**self._call, self._kind: asked}
