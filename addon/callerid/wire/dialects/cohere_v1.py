"""Cohere Chat, first version: https://docs.cohere.com/v1/reference/chat.

The newest message stands beside the history. Command R takes and gives the same at Bedrock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from callerid.turn import Call, Dialect, Part, Reply, Role, Text, ToolCall, ToolResult
from callerid.wire import sse, wirejson
from callerid.wire.dialects import cohere, openai_chat
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import at, mapping, sequence, string

NAME = Dialect.COHERE_V1
PATH = re.compile(r"/v1/chat$")

_ROLES = {"USER": Role.USER, "CHATBOT": Role.ASSISTANT, "SYSTEM": Role.SYSTEM, "TOOL": Role.TOOL}


def fits(members: Mapping[str, bytes]) -> bool:
    """A message that is a text."""
    return members.get("message", b"").startswith(b'"')


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; the system prompt is the preamble and the history's leading system messages."""
    messages = reader.read(NAME, _history(members), read_parts)
    preamble = reader.prompt(members.get("preamble", b""), string)
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true",
        system="\n".join(filter(None, [preamble, openai_chat.leading_system_text(messages)])),
        tools=reader.prompt(members.get("tools", b""), openai_chat.tool_names),
        messages=messages,
        members=tuple(members.items()),
    )


def _history(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """The messages of the history, the results of tools, and the newest message."""
    said = members.get("chat_history", b"")
    yield from wirejson.items(said) if said.startswith(b"[") else []
    found = members.get("tool_results", b"")
    if found.startswith(b"["):
        yield b'{"role":"TOOL","tool_results":' + found + b"}"
    if members["message"] != b'""':  # empty where only the results of tools are sent
        yield b'{"role":"USER","message":' + members["message"] + b"}"


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply, or an error, which is a message and no more."""
    said = {"role": "CHATBOT", "message": at(body, "text"), "tool_calls": at(body, "tool_calls")}
    parts = read_parts(said)[1]
    error = at(body, "error")
    return Reply(
        messages=(reader.make(wirejson.encode(said), Role.ASSISTANT, parts),) if parts else (),
        stop_reason=string(at(body, "finish_reason")),
        response_id=string(at(body, "response_id")),
        usage=cohere.read_usage(at(body, "meta")),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(body, "message")) or string(at(error, "message")),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message of a history."""
    role = _ROLES.get(string(at(value, "role")).upper(), Role.USER)
    text = string(at(value, "message"))
    calls = (
        ToolCall("", string(at(call, "name")), at(call, "parameters"))
        for call in sequence(at(value, "tool_calls"))
    )
    results = (
        ToolResult("", wirejson.encode_sorted(at(result, "outputs")).decode("utf-8", "replace"))
        for result in sequence(at(value, "tool_results"))
    )
    return role, (*([Text(text)] if text else []), *calls, *results)


class Stream:
    """Takes the whole reply from the event that ends the stream; until then, what was said."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._pieces: list[str] = []

    def take(self, event: sse.Event) -> None:
        """Read one event."""
        data = mapping(wirejson.decode(event.data))
        type = data.get("event_type")
        if type == "text-generation":
            self._pieces.append(string(data.get("text")))
        elif type == "tool-calls-generation":
            self._body["tool_calls"] = data.get("tool_calls")
        elif type == "stream-start":
            self._body["generation_id"] = data.get("generation_id")
        elif type == "stream-end":
            self._body.update({"finish_reason": data.get("finish_reason")})
            self._body.update(mapping(data.get("response")))
            self.is_complete = True
        elif "error" in data:  # from Bedrock
            self._body["error"] = data["error"]

    def body(self) -> object:
        """The reply so far."""
        return {"text": "".join(self._pieces), **self._body}
