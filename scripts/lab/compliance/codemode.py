"""Calls of tools as Codex wants them: by the tool's group, or in a program that calls the tool."""

from __future__ import annotations

from typing import Any

from lab import ToolCall
from lab.compliance.wish import Wish

_RUNNER = "exec"  # the tool that runs a program
# What tools take that only a program can call; their schemas are not in the request.
_MEMBERS = {"exec_command": ("cmd",)}


def offered(wanted: Wish) -> set[str]:
    """The tools that can be called, in whichever way."""
    return set(wanted.tools) | (set(_MEMBERS) if _RUNNER in wanted.custom else set())


def arguments(name: str, known: dict[str, object]) -> dict[str, object]:
    """What a program gives to a tool."""
    return {member: known[member] for member in _MEMBERS[name]}


def item(call: ToolCall, wanted: Wish, serial: int, index: int) -> dict[str, Any]:
    """A call as an item of the Responses API."""
    known = {"call_id": f"call_{serial:020}_{index}", "status": "completed"}
    if call.name not in wanted.tools:
        program = f"text(JSON.stringify(await tools.{call.name}({call.json()})));"
        run = {"id": f"ctc_{serial:022}_{index}", "name": _RUNNER, "input": program}
        return {"type": "custom_tool_call"} | known | run
    space = wanted.namespaces.get(call.name)
    called = {"id": f"fc_{serial:022}_{index}", "name": call.name, "arguments": call.json()}
    return {"type": "function_call"} | known | called | ({"namespace": space} if space else {})
