"""Reads of a request what the model needs to know, in each dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lab.exchange import Asked
from lab.wires.pieces import text_of

_USER, _MODEL, _OTHER = "user", "model", "other"
_SCHEMAS = ("parametersJsonSchema", "parameters_json_schema", "parameters")  # as Gemini's SDKs say


class Read(NamedTuple):
    """What there is to know: `tools` by name with their schemas, `schema` of a wanted answer.

    `turns` counts those of the model, `turns_since_user` those since the user spoke last; `after`
    is the response after which only what is new is said.
    """

    tools: dict[str, dict[str, Any]]
    schema: dict[str, Any] | None
    system: str
    text: str
    newest: str
    turns: int
    turns_since_user: int
    has_user: bool
    after: str = ""


class _Said(NamedTuple):
    who: str
    text: str


def read(asked: Asked) -> Read:
    """Read a request; raises ValueError where its dialect is none of ours."""
    body = asked.json
    for member, reads in _DIALECTS:
        if member(asked.path):
            return reads(body)
    raise ValueError(f"expected a dialect of the lab, found {asked.path}")


def _chat(body: dict[str, Any]) -> Read:
    functions = (tool["function"] for tool in body.get("tools") or [] if "function" in tool)
    wanted = body.get("response_format") or {}
    schema = wanted["json_schema"].get("schema") if wanted.get("type") == "json_schema" else None
    messages = body["messages"]
    said = [_Said(_who(one["role"]), text_of(one.get("content"))) for one in messages]
    system = "\n".join(
        one.text
        for one, sent in zip(said, messages, strict=True)
        if sent["role"] in ("system", "developer")
    )
    tools = {one["name"]: one.get("parameters") or {} for one in functions}
    return _read(tools, said, system)._replace(schema=schema)


def _responses(body: dict[str, Any]) -> Read:
    tools = {
        one["name"]: one.get("parameters") or {}
        for one in body.get("tools") or []
        if one.get("type") == "function"
    }
    wanted = (body.get("text") or {}).get("format") or {}
    schema = wanted.get("schema") if wanted.get("type") == "json_schema" else None
    given = body.get("input") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    found = _read(tools, list(_said_items(items)), body.get("instructions") or "")
    return found._replace(schema=schema, after=body.get("previous_response_id") or "")


def _said_items(items: list[dict[str, Any]]) -> Iterator[_Said]:
    """One turn of the model for each tool call in a list of items; its texts lie beside them."""
    for item in items:
        if item.get("type") == "function_call":
            yield _Said(_MODEL, "")
        elif "role" in item:
            who = _who(item["role"])
            yield _Said(_OTHER if who == _MODEL else who, text_of(item.get("content")))


def _messages(body: dict[str, Any]) -> Read:
    tools = {
        one["name"]: one["input_schema"] for one in body.get("tools") or [] if "input_schema" in one
    }
    said = []
    for message in body["messages"]:
        text = text_of(message["content"])
        is_user = message["role"] == "user" and bool(text)
        said.append(_Said(_USER if is_user else _who(message["role"], _OTHER), text))
    return _read(tools, said, text_of(body.get("system")))


def _gemini(body: dict[str, Any]) -> Read:
    declared = (
        function
        for tool in body.get("tools") or []
        for function in tool.get("functionDeclarations") or []
    )
    tools: dict[str, dict[str, Any]] = {
        one["name"]: next((one[name] for name in _SCHEMAS if name in one), {}) for one in declared
    }
    said = []
    for content in body["contents"]:
        text = text_of(content.get("parts"))
        is_model = content.get("role") == "model"
        said.append(_Said(_MODEL if is_model else _USER if text else _OTHER, text))
    return _read(tools, said, text_of((body.get("systemInstruction") or {}).get("parts")))


def _who(role: str, user: str = _USER) -> str:
    return {"user": user, "assistant": _MODEL}.get(role, _OTHER)


def _read(tools: dict[str, dict[str, Any]], said: list[_Said], system: str) -> Read:
    turns = since = 0
    for one in said:
        turns += one.who == _MODEL
        since = 0 if one.who == _USER else since + (one.who == _MODEL)
    newest = next((one.text for one in reversed(said) if one.text), "")
    text = "\n".join((system, *(one.text for one in said)))
    has_user = any(one.who == _USER for one in said)
    return Read(tools, None, system, text, newest, turns, since, has_user)


_DIALECTS: tuple[tuple[Callable[[str], bool], Callable[[dict[str, Any]], Read]], ...] = (
    (lambda path: path.endswith("/chat/completions"), _chat),
    (lambda path: path.endswith("/responses"), _responses),
    (lambda path: path.endswith("/messages"), _messages),
    (lambda path: "enerateContent" in path, _gemini),
)
