"""What a request asks of the model, the same for every dialect: the talk so far, tools, a task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

JSON = Any


class Said(NamedTuple):
    """One turn of a talk: by user, model or tool; `calls` says that the model called tools."""

    by: str
    text: str = ""
    calls: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model is asked for.

    `task` is a kind of call, by what the request asks for in words; `schema` is the form of the
    answer where it must be JSON; `tools` are their JSON schemas by name. The Responses API has
    items (`is_items`), tools that take text (`custom`), and tools in named groups (`namespaces`).
    """

    said: tuple[Said, ...]
    task: str = "main"
    tools: dict[str, JSON] = field(default_factory=dict)
    schema: JSON = None
    system: str = ""
    is_items: bool = False
    custom: frozenset[str] = frozenset()
    namespaces: dict[str, str] = field(default_factory=dict)


def wish(path: str, body: JSON, before: Wish | None = None) -> Wish:
    """Read a request's body; `before` is what was asked and said before the response it names."""
    if "messages" in body:
        return _anthropic(path, body)
    if "contents" in body:
        return _gemini(path, body)
    return _responses(body, before)


def fill(schema: JSON, known: dict[str, object]) -> dict[str, object]:
    """An object of a JSON schema: what is `known` where it has such a member, else anything."""
    members = (schema or {}).get("properties") or {}
    required = (schema or {}).get("required") or []
    return {
        name: _value(name, member, known)
        for name, member in members.items()
        if name in known or name in required
    }


def _value(name: str, schema: JSON, known: dict[str, object]) -> object:
    kind = schema.get("type")
    kind = next((one for one in kind if one != "null"), "") if isinstance(kind, list) else kind
    kind = str(kind).lower()
    if kind == "object" and not isinstance(known.get(name), dict):
        return fill(schema, known)
    if name in known:
        return known[name]
    if schema.get("enum"):
        return schema["enum"][0]
    return {"boolean": False, "number": 1, "integer": 1, "array": []}.get(kind, "something")


def _anthropic(path: str, body: JSON) -> Wish:
    said = [
        Said(_BY.get(message["role"], "tool"), _text(content), _has(content, "tool_use"))
        for message in body["messages"]
        for content in [message["content"]]
    ]
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    tools = {tool["name"]: tool.get("input_schema") for tool in body.get("tools") or []}
    task = "main"
    if path.endswith("/count_tokens"):
        task = "count_tokens"
    elif schema and "title" in schema.get("properties", {}):
        task = "title"
    else:
        task = _task(_text(body.get("system")), said, tools)
    return Wish(tuple(said), task, tools, schema, _text(body.get("system")))


def _gemini(path: str, body: JSON) -> Wish:
    said = [
        Said(_BY[one.get("role", "user")], _text(one["parts"]), _has_key(one["parts"]))
        for one in body["contents"]
    ]
    tools = {
        one["name"]: one.get("parametersJsonSchema") or one.get("parameters")
        for group in body.get("tools") or []
        for one in group.get("functionDeclarations") or []
    }
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    system = _text((body.get("systemInstruction") or {}).get("parts"))
    if path.endswith(":countTokens"):
        task = "count_tokens"
    elif "model_choice" in json.dumps(schema) or "complexity" in json.dumps(schema):
        task = "router"
    else:
        task = _task(system, said, tools)
    return Wish(tuple(said), task, tools, schema, system)


def _responses(body: JSON, before: Wish | None) -> Wish:
    items = body.get("input") or []
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    said = [*(before.said if before else ()), *_item_turns(items)]
    declared = [*(body.get("tools") or [])]
    for item in items:
        declared += item.get("tools") or [] if item.get("type") == "additional_tools" else []
    named = list(_named(declared))
    schema = ((body.get("text") or {}).get("format") or {}).get("schema")
    system = (body.get("instructions") or "") + _text_of_developers(items)
    if body.get("generate") is False:
        task = "prewarm"
    elif items and items[-1].get("type") == "compaction_trigger":
        task = "compaction"
    elif schema and "title" in schema.get("properties", {}):
        task = "title"
    else:
        task = _task(system, said, dict.fromkeys(name for _, name, _ in named))
    if before and not named:  # what has not changed is not said again
        return replace(before, said=tuple(said), task=task, schema=schema)
    return Wish(
        tuple(said), task,
        {name: tool.get("parameters") for _, name, tool in named},
        schema,
        system,
        True,
        frozenset(name for _, name, tool in named if tool["type"] == "custom"),
        {name: space for space, name, _ in named if space},
    )  # fmt: skip


def _named(tools: Iterable[JSON], space: str = "") -> Iterator[tuple[str, str, JSON]]:
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from _named(tool.get("tools") or [], tool["name"])
        elif tool.get("type") in ("function", "custom"):
            yield space, tool["name"], tool


def _item_turns(items: Iterable[JSON]) -> Iterator[Said]:
    """Items as turns; calls that stand side by side are one turn of the model."""
    called = False
    for item in items:
        kind = item.get("type", "message")
        calls = kind in ("function_call", "custom_tool_call", "local_shell_call")
        if calls and not called:
            yield Said("model", calls=True)
        elif kind == "message":
            yield Said(_BY.get(item["role"], "tool"), _text(item.get("content")))
        elif kind == "agent_message":
            yield Said("user", _words(item))
        called = calls if kind != "reasoning" else called


def _text_of_developers(items: Iterable[JSON]) -> str:
    return "\n".join(
        _text(item.get("content")) for item in items if item.get("role") in ("developer", "system")
    )


def _words(value: JSON) -> str:
    """Every text in a value, wherever it stands."""
    if isinstance(value, str):
        return value
    inside = value.values() if isinstance(value, dict) else value
    return "\n".join(map(_words, inside)) if isinstance(value, dict | list) else ""


def _task(system: str, said: list[Said], tools: dict[str, JSON]) -> str:
    newest = said[-1].text if said else ""
    return next((task for task, asks in _TASKS if asks(system, newest, tools)), "main")


def _text(content: JSON) -> str:
    if isinstance(content, str):
        return content
    parts = content or []
    return "\n".join(part.get("text") or "" for part in parts if isinstance(part, dict))


def _has(content: JSON, kind: str) -> bool:
    return isinstance(content, list) and any(part.get("type") == kind for part in content)


def _has_key(parts: JSON) -> bool:
    return any("functionCall" in part for part in parts)


_BY = {"user": "user", "assistant": "model", "model": "model"}

# How agents ask for something else than the next turn. The model must understand it as a real one
# would; here a few words have to do.
_TASKS = (
    ("title", lambda system, newest, tools: "title generator" in system),
    ("title", lambda system, newest, tools: "naming a coding session" in system),
    ("compaction", lambda system, newest, tools: "<state_snapshot>" in system),
    ("compaction", lambda system, newest, tools: "<summary>" in newest and "<analysis>" in newest),
    ("compaction", lambda system, newest, tools: "<conversation>" in newest and not tools),
    ("auxiliary", lambda system, newest, tools: "web_search" in tools and len(tools) == 1),
)
