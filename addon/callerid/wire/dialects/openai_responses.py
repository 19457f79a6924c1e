"""OpenAI Responses: https://platform.openai.com/docs/api-reference/responses.

`/responses/input_tokens` counts the tokens of the same body; `/responses/compact` gives its history
back as fewer items, of which one is an encrypted summary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from callerid.turn import (
    Call,
    Dialect,
    Kind,
    Part,
    Reference,
    Reply,
    Role,
    Stood,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from callerid.wire import canonical, growing, sse, wirejson
from callerid.wire.dialects import openai_chat
from callerid.wire.messages import MessageReader, members_with
from callerid.wire.wirejson import at, count, mapping, sequence, string

NAME = Dialect.OPENAI_RESPONSES
PATH = re.compile(r"/(?:responses(?:/input_tokens|/compact)?|realtime)$")

_KEPT_BUT_INPUT = {"instructions": Stood.SYSTEM, "tools": Stood.TOOLS}
_KEPT = {**_KEPT_BUT_INPUT, "input": Stood.MESSAGES}
_KINDS = {"/input_tokens": Kind.COUNT_TOKENS, "/compact": Kind.COMPACTION}
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
# Items that clients re-send, drop, trim or re-number at will: reasoning, and what the server does
# by itself within a reply. What they led to is said elsewhere.
_NOT_HISTORY = (
    "reasoning",
    "additional_tools",
    "compaction_trigger",
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "tool_search_call",
    "tool_search_output",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
)


def fits(members: Mapping[str, bytes]) -> bool:
    """An input, or the continuation of an earlier response, and no messages of other dialects."""
    return ("input" in members or "previous_response_id" in members) and "messages" not in members


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; an input that is a text is one user message."""
    items = _input_items(members)
    messages = reader.read(NAME, items, read_parts)
    instructions = reader.prompt(members.get("instructions", b""), string)
    tools_raw = members.get("tools", b"")
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members.get("model", b"null"))),
        streams=members.get("stream") == b"true",
        system="\n".join(filter(None, [instructions, openai_chat.leading_system_text(messages)])),
        tools=reader.prompt(tools_raw, openai_chat.tool_names) or _late_tools(items),
        messages=messages,
        kind=_kind(path, members, items),
        previous_response_id=string(wirejson.decode(members.get("previous_response_id", b"null"))),
        members=members_with(
            members, _KEPT if members.get("input", b"").startswith(b"[") else _KEPT_BUT_INPUT
        ),
        system_raw=members.get("instructions", b""),
        tools_raw=tools_raw,
    )


def _kind(path: str, members: Mapping[str, bytes], items: Sequence[bytes]) -> Kind:
    """What a call is for, as far as the API has a word for it (Codex 0.169.0, observed)."""
    if members.get("generate") == b"false":
        return Kind.PREWARM
    last = items[-1] if items else b""
    if b"compaction_trigger" in last and _type(wirejson.decode(last)) == "compaction_trigger":
        return Kind.COMPACTION
    return next((kind for end, kind in _KINDS.items() if path.endswith(end)), Kind.MAIN)


def _type(item: object) -> str:
    return string(at(item, "type"))


def _input_items(members: Mapping[str, bytes]) -> list[bytes]:
    raw = members.get("input", b"null")
    if raw.startswith(b'"'):
        return [b'{"role":"user","content":' + raw + b"}"]
    return growing.items(members, "input") if raw != b"null" else []


def _late_tools(items: Iterable[bytes]) -> tuple[str, ...]:
    # Codex sends its tools as an input item with newer models (shared field notes, Codex 0.169).
    for raw in items:
        if b"additional_tools" in raw and _type(item := wirejson.decode(raw)) == "additional_tools":
            return openai_chat.tool_names(at(item, "tools"))
    return ()


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a response, a count, or an error; `stop_reason` is the status, the provider's word."""
    error = at(body, "error")
    output = sequence(at(body, "output"))
    read = [(item, read_parts(item)[1]) for item in output]
    return Reply(
        messages=tuple(
            reader.make(wirejson.encode(item), _role_of(item), parts)
            for item, parts in read
            if parts
        ),
        stop_reason=string(at(body, "status")),
        model=string(at(body, "model")),
        response_id=string(at(body, "id")),
        item_ids=tuple(id for item in output if (id := string(at(item, "id")))),
        usage=read_usage(body if at(body, "input_tokens") is not None else at(body, "usage")),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(error, "message")),
    )


def _role_of(item: object) -> Role:
    """Who an item of a reply is from; compacted ones repeat what a person said."""
    return Role.USER if at(item, "role") == "user" else Role.ASSISTANT


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one item."""
    item = mapping(value)
    type = string(item.get("type")) or "message"
    if type == "message":
        role = _ROLES.get(string(item.get("role")), Role.USER)
        return role, openai_chat.content_parts(item.get("content"))
    if type in _NOT_HISTORY:
        return Role.SYSTEM, ()
    read = _ITEMS.get(type)
    if read is not None:
        return read(item)
    role = Role.USER if type.endswith("_output") else Role.ASSISTANT
    return role, (canonical.opaque(type, item),)


def _function_call(item: Mapping[str, object]) -> tuple[Role, tuple[Part, ...]]:
    asked = item.get("arguments") or item.get("input") or item.get("action") or {}
    value = wirejson.decode_or_text(asked) if isinstance(asked, str) else asked
    name = string(item.get("name")) or string(item.get("type"))
    return Role.ASSISTANT, (ToolCall(string(item.get("call_id")), name, value),)


def _function_output(item: Mapping[str, object]) -> tuple[Role, tuple[Part, ...]]:
    output = item.get("output")
    parts = openai_chat.content_parts(output)
    said = "\n".join(part.text for part in parts if isinstance(part, Text))
    if not said and isinstance(output, dict):
        said = wirejson.encode_sorted(output).decode()
    return Role.TOOL, (ToolResult(string(item.get("call_id")), said),)


def _reference(item: Mapping[str, object]) -> tuple[Role, tuple[Part, ...]]:
    """An item of an earlier reply that the server keeps (`store: true`), by its id."""
    return Role.ASSISTANT, (Reference(string(item.get("id"))),)


def _agent_message(item: Mapping[str, object]) -> tuple[Role, tuple[Part, ...]]:
    """What one agent says to another (Codex 0.169.0, observed); an errand is in the part packed."""
    said = (
        string(at(part, "text")) or string(at(part, "encrypted_content"))
        for part in sequence(item.get("content"))
    )
    return Role.USER, tuple(Text(text) for text in said if text)


_ITEMS: dict[str, Callable[[Mapping[str, object]], tuple[Role, tuple[Part, ...]]]] = {
    "function_call": _function_call,
    "custom_tool_call": _function_call,
    "local_shell_call": _function_call,
    "shell_call": _function_call,
    "agent_message": _agent_message,
    "item_reference": _reference,
    "apply_patch_call": _function_call,
    "function_call_output": _function_output,
    "custom_tool_call_output": _function_output,
    "local_shell_call_output": _function_output,
    "shell_call_output": _function_output,
    "apply_patch_call_output": _function_output,
}


def read_usage(usage: object) -> Usage:
    """The tokens; `input_tokens` includes cached ones, as the provider counts."""
    if not isinstance(usage, dict):
        return Usage()
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_input_tokens=count(at(usage, "input_tokens_details", "cached_tokens")),
        reasoning_tokens=count(at(usage, "output_tokens_details", "reasoning_tokens")),
        raw=wirejson.encode(usage),
    )


_FINAL = ("response.completed", "response.incomplete", "response.failed", "response.done")


class Stream:
    """Takes the whole response from the event that ends it; until then, from the items so far."""

    def __init__(self) -> None:
        self.is_complete = False
        self._response: dict[str, object] = {}
        self._items: dict[int, object] = {}
        self._texts: dict[int, list[str]] = {}

    def take(self, event: sse.Event) -> None:
        """Read one event; OpenRouter ends with [DONE], as in its chat."""
        if event.data.strip() == b"[DONE]":
            return
        data = wirejson.decode(event.data)
        type = string(at(data, "type")) or event.name
        index = count(at(data, "output_index")) or 0
        if response := mapping(at(data, "response")):
            self._response = dict(response)
        if type in _FINAL:
            self.is_complete = True
        elif type == "error":
            flat = {name: value for name, value in mapping(data).items() if name != "type"}
            self._response["error"] = at(data, "error") or flat
        elif type in ("response.output_item.added", "response.output_item.done"):
            self._items[index] = at(data, "item")
        elif type == "response.output_text.delta":
            self._texts.setdefault(index, []).append(string(at(data, "delta")))

    def body(self) -> object:
        """The response; where its end is missing or says nothing, with the items seen so far."""
        if self._response.get("output") or not self._items:
            return self._response
        output = [self._item(index) for index in sorted(self._items)]
        return {**self._response, "output": output}

    def _item(self, index: int) -> object:
        item = mapping(self._items[index])
        if item.get("type") != "message" or item.get("content"):
            return item
        text = "".join(self._texts.get(index, []))
        return {**item, "content": [{"type": "output_text", "text": text}] if text else []}
