"""Conversations as fine-tuning takes them: one object a session, in the words of Chat Completions.

https://platform.openai.com/docs/guides/supervised-fine-tuning: `messages`, and `tools` where there
were any. All dialects are told in this one; what is no text (an image, a file) is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sqlite_utils import Database

from callerid.archive import calls as archive
from callerid.archive.compare import declared
from callerid.archive.transcript import shown_arguments
from callerid.turn import Call, Message, Opaque, Reference, Role, Text, ToolCall, ToolResult
from callerid.wire import wirejson

Object = dict[str, object]

# Where the dialects write what a tool takes.
_SCHEMAS = (
    ("parameters",), ("input_schema",), ("inputSchema", "json"), ("parametersJsonSchema",),
    ("parameters_json_schema",), ("parameter_definitions",),
)  # fmt: skip
_WRAPPERS = ("function", "toolSpec", "custom")


def lines(database: Database, sessions: Iterable[str]) -> Iterator[bytes]:
    """A line for each session in which a model has said something.

    Raises NotJSON and NotPacked where a record is broken.
    """
    reader = archive.reader()
    for session_id in sessions:
        newest = archive.newest(database, session_id)
        if newest is None:
            continue
        said, last = archive.history(database, newest, reader)
        told = _Told()
        system, rest = archive.parted(said, last)
        if system:
            told.add({"role": "system", "content": system})
        for message in rest:
            told.take(message)
        if any(map(_is_answer, told.messages)):
            line: Object = {"messages": told.messages}
            if tools := tools_of(last.call):
                line["tools"] = tools
            yield msgspec.json.encode(line) + b"\n"


def _is_answer(message: Object) -> bool:
    """Whether a model said something; where no words are kept on record, it did not."""
    return message["role"] == "assistant" and bool(message["content"] or message.get("tool_calls"))


class _Told:
    """Messages in the one dialect; the ids of tool calls are made up where there are none."""

    def __init__(self) -> None:
        self.messages: list[Object] = []
        self._open: list[str] = []  # tool calls that wait for their results
        self._made = 0

    def add(self, message: Object) -> None:
        self.messages.append(message)

    def take(self, message: Message) -> None:
        """Add a message: what tools answered in ones of their own, before the words."""
        for part in message.parts:
            if isinstance(part, ToolResult):
                self.add({
                    "role": "tool", "tool_call_id": self._answered(part.call_id),
                    "content": part.text,
                })  # fmt: skip
        wishes = [part for part in message.parts if isinstance(part, ToolCall)]
        words = _words(message)
        if message.role is Role.ASSISTANT or wishes:
            self._say(words, [self._wish(part) for part in wishes])
        elif words:
            role = "system" if message.role is Role.SYSTEM else "user"
            self.add({"role": role, "content": words})

    def _say(self, words: str, wishes: list[Object]) -> None:
        """Add what a model said; what it said in several messages in a row is one."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant":
            last = {"role": "assistant", "content": None}
            self.add(last)
        if words:
            last["content"] = f"{last['content']}\n{words}" if last["content"] else words
        if wishes:
            before = last.get("tool_calls")
            last["tool_calls"] = [*(before if isinstance(before, list) else []), *wishes]
        if last["content"] is None and "tool_calls" not in last:
            last["content"] = ""

    def _wish(self, part: ToolCall) -> Object:
        id = part.id
        if not id:
            self._made += 1
            id = f"call_{self._made}"
        self._open.append(id)
        text = part.arguments if isinstance(part.arguments, str) else None
        arguments = text if text is not None else shown_arguments(part.arguments or {})
        return {
            "id": id,
            "type": "function",
            "function": {"name": part.name, "arguments": arguments},
        }

    def _answered(self, id: str) -> str:
        """The id of the tool call that is answered; without one, the first that waits."""
        found = id if id in self._open else self._open[0] if self._open and not id else id
        if found in self._open:
            self._open.remove(found)
        return found


def _words(message: Message) -> str:
    said: list[str] = []
    is_spoken = False  # what came last
    for part in message.parts:
        if isinstance(part, Text) and part.text:
            if is_spoken and message.role is Role.ASSISTANT:
                said[-1] += part.text  # a model's parts go on in the middle of a sentence
            else:
                said.append(part.text)
        elif isinstance(part, Opaque):
            said.append(f"[{part.type}]")
        elif isinstance(part, Reference):
            said.append(f"[see {part.id}]")
        is_spoken = isinstance(part, Text) and bool(part.text)
    return "\n".join(said)


def tools_of(call: Call | None) -> list[Object]:
    """The tools of a call as functions; without those that its provider runs by itself."""
    if call is None or not call.tools_raw:
        return []
    found = (_tool(name, tool) for name, tool in declared(call))
    return [tool for tool in found if tool is not None]


def _tool(name: str, tool: object) -> Object | None:
    """A tool as a function; None for what a provider does by itself, which says no schema."""
    inner = next((wirejson.at(tool, key) for key in _WRAPPERS if wirejson.at(tool, key)), tool)
    schema = next(filter(None, (wirejson.at(inner, *place) for place in _SCHEMAS)), None)
    description = wirejson.string(wirejson.at(inner, "description"))
    if schema is None and not description:
        return None
    function: Object = {"name": name}
    if description:
        function["description"] = description
    function["parameters"] = schema or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}
