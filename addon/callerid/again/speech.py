"""What is said anew, as each dialect writes it: a person's words, and what was said before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from callerid.turn import Dialect, Message, Role, Text, ToolCall, ToolResult
from callerid.wire import wirejson
from callerid.wire.wirejson import mapping

NOT_RUN = "This tool was not run; the conversation goes on without its answer."

Object = dict[str, object]


class Wish(NamedTuple):
    """A tool call that was not answered, and its item as the model sent it."""

    call: ToolCall
    raw: Mapping[str, object]


class Speech(NamedTuple):
    """How a dialect says things.

    `member` is the name under which a body holds its messages; `words` are a person's words
    after some tool calls that were not answered; `reply` is what a model said, as the next call
    sends it, with the names of members that its client sends.
    """

    member: str
    words: Callable[[str, list[Wish]], list[Object]]
    reply: Callable[[Object, set[str]], Object] = lambda said, _: said


def wishes(messages: Iterable[Message]) -> list[Wish]:
    """The tool calls at the end of a history that nothing answers."""
    found: list[Wish] = []
    for message in messages:
        answered = [part.call_id for part in message.parts if isinstance(part, ToolResult)]
        if message.role is Role.USER and not answered and _says_words(message):
            found.clear()
        for part in message.parts:
            if isinstance(part, ToolCall):
                found.append(Wish(part, mapping(wirejson.decode(message.raw))))
        for id in answered:
            same = [wish for wish in found if id and wish.call.id == id] or found[:1]
            found = [wish for wish in found if wish not in same[:1]]
    return found


def _says_words(message: Message) -> bool:
    return any(isinstance(part, Text) for part in message.parts)


def members_sent(messages: Iterable[Message]) -> set[str]:
    """The members of a model's messages that a client has sent so far."""
    said = (m for m in messages if m.role is Role.ASSISTANT)
    return {name for message in said for name in mapping(wirejson.decode(message.raw))}


def _anthropic(text: str, open_calls: list[Wish]) -> list[Object]:
    results = [
        {"type": "tool_result", "tool_use_id": wish.call.id, "content": NOT_RUN}
        for wish in open_calls
    ]
    content = [*results, {"type": "text", "text": text}] if results else text
    return [{"role": "user", "content": content}]


def _openai_chat(text: str, open_calls: list[Wish]) -> list[Object]:
    results: list[Object] = [
        {"role": "tool", "tool_call_id": wish.call.id, "content": NOT_RUN}
        if wish.call.id
        else {"role": "function", "name": wish.call.name, "content": NOT_RUN}
        for wish in open_calls
    ]
    return [*results, {"role": "user", "content": text}]


def _responses(text: str, open_calls: list[Wish]) -> list[Object]:
    results: list[Object] = [
        {"type": f"{wish.raw.get('type')}_output", "call_id": wish.call.id, "output": NOT_RUN}
        for wish in open_calls
    ]
    content = [{"type": "input_text", "text": text}]
    return [*results, {"type": "message", "role": "user", "content": content}]


def _gemini(text: str, open_calls: list[Wish]) -> list[Object]:
    results = [
        {
            "functionResponse": {
                **({"id": wish.call.id} if wish.call.id else {}),
                "name": wish.call.name,
                "response": {"output": NOT_RUN},
            }
        }
        for wish in open_calls
    ]
    return [{"role": "user", "parts": [*results, {"text": text}]}]


def _bedrock(text: str, open_calls: list[Wish]) -> list[Object]:
    results = [
        {"toolResult": {"toolUseId": wish.call.id, "content": [{"text": NOT_RUN}]}}
        for wish in open_calls
    ]
    return [{"role": "user", "content": [*results, {"text": text}]}]


def _ollama(text: str, open_calls: list[Wish]) -> list[Object]:
    results: list[Object] = [
        {"role": "tool", "tool_name": wish.call.name, "content": NOT_RUN} for wish in open_calls
    ]
    return [*results, {"role": "user", "content": text}]


def _cohere_v1(text: str, open_calls: list[Wish]) -> list[Object]:
    return [{"role": "USER", "message": text}]


_ALWAYS = {"role", "content", "tool_calls", "function_call"}


def _chat_reply(said: Object, sent: set[str]) -> Object:
    """Its words and tool calls, and of the rest what the client has sent of others."""
    kept = _ALWAYS | sent
    return {
        name: value
        for name, value in said.items()
        if name in kept and (value is not None or name == "content")
    }


def _item(said: Object, sent: set[str]) -> Object:
    """An item without the ids by which a server looks up what it may not have kept.

    A reference is nothing but its id.
    """
    if said.get("type") == "item_reference":
        return said
    return {name: value for name, value in said.items() if name not in ("id", "status")}


def _said_v1(said: Object, sent: set[str]) -> Object:
    return {name: value for name, value in said.items() if value is not None}


SPEECHES = {
    Dialect.ANTHROPIC: Speech("messages", _anthropic),
    Dialect.OPENAI_CHAT: Speech("messages", _openai_chat, _chat_reply),
    Dialect.OPENAI_RESPONSES: Speech("input", _responses, _item),
    Dialect.GEMINI: Speech("contents", _gemini),
    Dialect.BEDROCK_CONVERSE: Speech("messages", _bedrock),
    Dialect.COHERE: Speech("messages", _openai_chat),
    Dialect.COHERE_V1: Speech("chat_history", _cohere_v1, _said_v1),
    Dialect.OLLAMA: Speech("messages", _ollama, _chat_reply),
}


def placed(dialect: Dialect, body: bytes, messages: list[bytes]) -> bytes:
    """A body with other messages; all else in it stands as it was sent. Raises NotJSON."""
    members = wirejson.members(body)
    if members.get("request", b"").startswith(b"{") and dialect is Dialect.GEMINI:
        return joined({**members, "request": placed(dialect, members["request"], messages)})
    if dialect is Dialect.COHERE_V1:
        *messages, newest = messages
        said = mapping(wirejson.decode(newest)).get("message", "")
        members = {name: raw for name, raw in members.items() if name != "tool_results"}
        members["message"] = wirejson.encode(said)
    return joined({**members, SPEECHES[dialect].member: b"[" + b",".join(messages) + b"]"})


def joined(members: Mapping[str, bytes]) -> bytes:
    """An object of members that are JSON already."""
    pairs = (wirejson.encode(name) + b":" + raw for name, raw in members.items())
    return b"{" + b",".join(pairs) + b"}"


def tools_asked(messages: Iterable[Message]) -> list[str]:
    """The tools that a model asked for in some messages, with what it wants of them."""
    parts = (part for message in messages for part in message.parts)
    return [
        f"{part.name} {wirejson.encode(part.arguments).decode('utf-8', 'replace')}"
        for part in parts
        if isinstance(part, ToolCall)
    ]
