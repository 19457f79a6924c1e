"""Gemini generateContent: https://ai.google.dev/api/generate-content.

Vertex and Gemini Code Assist send the same; the latter wraps call and reply in `request` and
`response` (shared field notes, Gemini CLI with OAuth).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from callerid.turn import (
    Call,
    Dialect,
    Kind,
    Members,
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

NAME = Dialect.GEMINI
PATH = re.compile(r"[/:](streamGenerateContent|generateContent|countTokens)$")

_MODEL = re.compile(r"/models/([^/:]+):")
_KEPT_BUT_CONTENTS = {
    "systemInstruction": Stood.SYSTEM,
    "system_instruction": Stood.SYSTEM,
    "tools": Stood.TOOLS,
}
_KEPT = {**_KEPT_BUT_CONTENTS, "contents": Stood.MESSAGES}
_ROLES = {"user": Role.USER, "model": Role.ASSISTANT, "function": Role.USER}


def fits(members: Mapping[str, bytes]) -> bool:
    """Contents, or a request that holds them."""
    return "contents" in _inner(members)


def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
    """Read a call; the model stands in the path, or in the wrapping."""
    inner = _inner(members)
    in_path = _MODEL.search(path)
    system_raw = inner.get("systemInstruction", inner.get("system_instruction", b""))
    tools_raw = inner.get("tools", b"")
    return Call(
        dialect=NAME,
        model=in_path[1] if in_path else string(wirejson.decode(members.get("model", b"null"))),
        streams=path.endswith("streamGenerateContent"),
        system=reader.prompt(system_raw, _system_text),
        tools=reader.prompt(tools_raw, _tool_names),
        messages=reader.read(NAME, _contents(inner), read_parts),
        kind=Kind.COUNT_TOKENS if path.endswith("countTokens") else Kind.MAIN,
        members=_members(members, inner),
        system_raw=system_raw,
        tools_raw=tools_raw,
    )


def _inner(members: Mapping[str, bytes]) -> Mapping[str, bytes]:
    wrapped = members.get("request", b"")
    return wirejson.members(wrapped) if wrapped.startswith(b"{") else members


def _members(members: Mapping[str, bytes], inner: Mapping[str, bytes]) -> Members:
    """The members of the body; those of a wrapped request are named `request.NAME`."""
    kept = members_with(inner, _KEPT if inner["contents"].startswith(b"[") else _KEPT_BUT_CONTENTS)
    if inner is members:
        return kept
    wrapping = [(name, raw) for name, raw in members.items() if name != "request"]
    return (*wrapping, *((f"request.{name}", raw) for name, raw in kept))


def _contents(members: Mapping[str, bytes]) -> list[bytes]:
    raw = members["contents"]
    return growing.items(members, "contents") if raw.startswith(b"[") else [raw]


def read_reply(body: object, reader: MessageReader) -> Reply:
    """Read a reply (its first candidate), a stream sent as an array, a count, or an error."""
    if isinstance(body, list):
        stream = Stream()
        for item in body:
            stream.add(item)
        body = stream.body()
    if wrapped := mapping(at(body, "response")):
        body = wrapped
    error = at(body, "error")
    candidates = sequence(at(body, "candidates"))
    candidate = candidates[0] if candidates else None
    parts = _parts(at(candidate, "content", "parts"))
    raw = wirejson.encode(at(candidate, "content"))
    blocked = string(at(body, "promptFeedback", "blockReason"))
    return Reply(
        messages=(reader.make(raw, Role.ASSISTANT, parts),) if parts else (),
        stop_reason=str(at(candidate, "finishReason") or blocked),
        model=string(at(body, "modelVersion")),
        response_id=string(at(body, "responseId")),
        usage=read_usage(body if at(body, "totalTokens") else at(body, "usageMetadata")),
        error=string(at(error, "status")) or ("error" if error else ""),
        error_message=string(at(error, "message")),
    )


def read_parts(value: object) -> tuple[Role, tuple[Part, ...]]:
    """The role and parts of one content; one without a role is the user's."""
    role = _ROLES.get(string(at(value, "role")), Role.USER)
    return role, _parts(at(value, "parts"))


def _parts(values: object) -> tuple[Part, ...]:
    values = values if isinstance(values, list) else [values] if values else []
    parts = (_part(mapping(value)) for value in values)
    return tuple(part for part in parts if part is not None)


def _part(part: Mapping[str, object]) -> Part | None:
    if part.get("thought") is True:
        return None
    if isinstance(text := part.get("text"), str):
        return Text(text) if text else None
    if call := mapping(part.get("functionCall") or part.get("function_call")):
        return ToolCall(string(call.get("id")), string(call.get("name")), call.get("args"))
    if result := mapping(part.get("functionResponse") or part.get("function_response")):
        said = wirejson.encode_sorted(result.get("response")).decode()
        return ToolResult(string(result.get("id")), said)
    kept = {name: value for name, value in part.items() if name != "thoughtSignature"}
    return canonical.opaque(next(iter(kept)), kept) if kept else None


def _system_text(system: object) -> str:
    if isinstance(system, str):
        return system
    return "\n".join(part.text for part in _parts(at(system, "parts")) if isinstance(part, Text))


def _tool_names(tools: object) -> tuple[str, ...]:
    names: list[str] = []
    for tool in sequence(tools) if isinstance(tools, list) else [tools]:
        for name, value in mapping(tool).items():
            declared = [string(at(function, "name")) for function in sequence(value)]
            names += declared or [name]
    return tuple(names)


def read_usage(usage: object) -> Usage:
    """The tokens; `output_tokens` leaves thoughts out, as the provider counts."""
    if not isinstance(usage, dict):
        return Usage()
    return Usage(
        input_tokens=count(usage.get("promptTokenCount", usage.get("totalTokens"))),
        output_tokens=count(usage.get("candidatesTokenCount")),
        cache_read_input_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=count(usage.get("thoughtsTokenCount")),
        reasoning_is_apart=True,
        raw=wirejson.encode(usage),
    )


class Stream:
    """Puts a reply together from chunks, each of which has the shape of a reply."""

    def __init__(self) -> None:
        self.is_complete = False
        self._body: dict[str, object] = {}
        self._candidate: dict[str, object] = {}
        self._parts: list[dict[str, object]] = []
        self._role: object = "model"
        self._run: list[str] = []

    def take(self, event: sse.Event) -> None:
        """Read one event."""
        self.add(wirejson.decode(event.data))

    def add(self, chunk: object) -> None:
        """Read one chunk."""
        body = mapping(at(chunk, "response")) or mapping(chunk)
        for name, value in body.items():
            if name == "usageMetadata":  # a later chunk may leave out what an earlier one counted
                self._body[name] = {**mapping(self._body.get(name)), **mapping(value)}
            elif name != "candidates":
                self._body[name] = value
        for candidate in sequence(body.get("candidates"))[:1]:
            self._take_candidate(mapping(candidate))
        is_blocked = bool(at(body, "promptFeedback", "blockReason"))
        self.is_complete = bool(self._candidate.get("finishReason")) or is_blocked

    def body(self) -> object:
        """The reply so far: texts that follow one another are one part."""
        self._end_run()
        if not self._candidate and not self._parts:
            return self._body
        content = {"role": self._role, "parts": self._parts}
        return {**self._body, "candidates": [{**self._candidate, "content": content}]}

    def _take_candidate(self, candidate: Mapping[str, object]) -> None:
        for name, value in candidate.items():
            if name != "content":
                self._candidate[name] = value
        self._role = at(candidate, "content", "role") or self._role
        for part in sequence(at(candidate, "content", "parts")):
            self._add(dict(mapping(part)))

    def _add(self, part: dict[str, object]) -> None:
        last = self._parts[-1] if self._parts else {}
        if self._is_more_text(last, part):
            self._run.append(string(part["text"]))
            last.update({name: value for name, value in part.items() if name != "text"})
            return
        self._end_run()
        self._parts.append(part)
        self._run = [string(part["text"])] if "text" in part else []

    @staticmethod
    def _is_more_text(last: Mapping[str, object], part: Mapping[str, object]) -> bool:
        return "text" in last and "text" in part and last.get("thought") == part.get("thought")

    def _end_run(self) -> None:
        if self._run and self._parts:
            self._parts[-1]["text"] = "".join(self._run)
