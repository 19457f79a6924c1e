"""Ollama's own API: https://github.com/ollama/ollama/blob/main/docs/api.md.

Messages have the shape of OpenAI's, with their images beside the text; `generate` takes a prompt
instead of them. Replies are streamed, a line a chunk, unless a call says that it wants none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callerid.turn import Call, Dialect, Kind, Part, Reply, Role, Stood, Usage
from callerid.wire import canonical, growing, sse, wirejson
from callerid.wire.dialects import openai_chat
from callerid.wire.messages import MessageReader, members_with
from callerid.wire.wirejson import at, count, mapping, sequence, string

NAME = Dialect.OLLAMA
PATH = re.compile(r"/api/(chat|generate)$")

_KEPT = {"system": Stood.SYSTEM, "tools": Stood.TOOLS, "messages": Stood.MESSAGES}
_PIECEMEAL = ("content", "thinking")


def fits(members: Mapping[str, bytes]) -> bool:
    """A model, with a list of messages or a prompt; web apps have an /api/chat of their own."""
    is_asked = members.get("messages", b"").startswith(b"[") or "prompt" in members
    return is_asked and members.get("model", b"").startswith(b'"')


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; one that says nothing only loads the model."""
    messages = reader.read(NAME, _messages(members), read_parts)
    system_raw, tools_raw = members.get("system", b""), members.get("tools", b"")
    system = reader.prompt(system_raw, string)
    return Call(
        dialect=NAME,
        model=string(wirejson.decode(members["model"])),
        streams=members.get("stream") != b"false",
        system="\n".join(filter(None, [system, openai_chat.leading_system_text(messages)])),
        tools=reader.prompt(tools_raw, openai_chat.tool_names),
        messages=messages,
        kind=Kind.MAIN if messages else Kind.PREWARM,
        members=members_with(members, _KEPT),
        system_raw=system_raw,
        tools_raw=tools_raw,
    )


def _messages(members: Mapping[str, bytes]) -> list[bytes]:
    if "prompt" not in members:
        return growing.items(members, "messages")
    if members["prompt"] in (b'""', b"null"):
        return []
    images = members.get("images", b"[]")
    return [b'{"role":"user","content":' + members["prompt"] + b',"images":' + images + b"}"]


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply, or an error, which is a text."""
    message = dict(mapping(at(body, "message")))
    if "response" in mapping(body):
        message = {"role": "assistant", "content": at(body, "response")}
    parts = read_parts(message)[1]
    error = at(body, "error")
    return Reply(
        messages=(reader.make(wirejson.encode(message), Role.ASSISTANT, parts),) if parts else (),
        stop_reason=string(at(body, "done_reason")),
        model=string(at(body, "model")),
        usage=read_usage(mapping(body)),
        error=openai_chat.error_type(error) if error else "",
        error_message=string(at(error, "message")) or string(error),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one message; images come after the text."""
    role, parts = openai_chat.read_parts(value)
    images = sequence(at(value, "images"))
    return role, (*parts, *(canonical.opaque("image", {"data": image}) for image in images))


def read_usage(body: Mapping[str, object]) -> Usage:
    """The tokens; of a prompt that is still in the cache none are counted."""
    counted = {name: body[name] for name in body if name.startswith(("prompt_eval", "eval"))}
    return Usage(
        input_tokens=count(body.get("prompt_eval_count")),
        output_tokens=count(body.get("eval_count")),
        raw=wirejson.encode(counted) if counted else b"",
    )


class Stream:
    """Puts a reply together from its chunks, of which the last is `done`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._message: dict[str, object] = {}
        self._calls: list[object] = []
        self._pieces: dict[str, list[str]] = {}

    def take(self, event: sse.Event) -> None:
        """Read one chunk."""
        chunk = mapping(wirejson.decode(event.data))
        for name, value in chunk.items():
            if name == "response":
                self._pieces.setdefault(name, []).append(string(value))
            elif name == "message":
                self._take_message(mapping(value))
            else:
                self._body[name] = value
        self.is_complete = self._body.get("done") is True

    def body(self) -> object:
        """The reply so far, in its unstreamed shape."""
        joined: dict[str, object] = {name: "".join(text) for name, text in self._pieces.items()}
        response = {"response": joined.pop("response")} if "response" in joined else {}
        message = {**self._message, **joined}
        if self._calls:
            message["tool_calls"] = self._calls
        return {**self._body, **response, **({"message": message} if message else {})}

    def _take_message(self, message: Mapping[str, object]) -> None:
        for name, value in message.items():
            if name in _PIECEMEAL:
                self._pieces.setdefault(name, []).append(string(value))
            elif name == "tool_calls":
                self._calls += sequence(value)
            else:
                self._message[name] = value
