"""What an agent sends, by name: headers and members of bodies, never a value."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from callerid.traces.database import Recorded

Names = dict[str, set[str]]  # the name -> the kinds of call that have it

_NAME = re.compile(r"[A-Za-z_$][\w.$-]*")  # what is no name is a value that stands for one: a path
# Objects whose members are the tools' own, and no part of the agent's protocol.
_OF_TOOLS = ("args", "arguments", "input", "input_schema", "parameters", "parametersJsonSchema",
             "properties", "response", "schema", "$defs")  # fmt: skip


def wire_names(recorded: Iterable[Recorded]) -> Names:
    """Every name in the requests of some calls."""
    found: Names = defaultdict(set)
    for record in recorded:
        kind = str(record.identity.kind) if record.identity else "unknown"
        for name in _names(record):
            found[name].add(kind)
    return found


def _names(record: Recorded) -> Iterator[str]:
    for header, value in record.request.headers:
        name = f"header {header.lower()}"
        yield name
        yield from _packed(name, value)
    yield from _members("body ", json.loads(record.request.body))


def _members(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _members(f"{path}[]", item)
    if not isinstance(value, dict):
        return
    path = path if path.endswith((" ", "#")) else f"{path}."
    for name, inner in value.items():
        if not _NAME.fullmatch(name):
            continue
        yield path + name
        if isinstance(inner, str) and "[]" not in path:  # what people say is no protocol
            yield from _packed(path + name, inner)
        elif not (isinstance(inner, dict) and name in _OF_TOOLS):
            yield from _members(path + name, inner)


def _packed(name: str, value: str) -> Iterator[str]:
    """The members of JSON that is sent as a text, as in a header."""
    try:
        inside = json.loads(value) if value.startswith("{") else None
    except ValueError:
        return
    yield from _members(f"{name}#", inside)


def changes(old: Mapping[str, set[str]], new: Mapping[str, set[str]]) -> list[str]:
    """What came and what went, a line for each name."""
    came = [f"+ {name} ({_kinds(new[name])})" for name in sorted(new.keys() - old.keys())]
    return came + [f"- {name} ({_kinds(old[name])})" for name in sorted(old.keys() - new.keys())]


def _kinds(kinds: set[str]) -> str:
    return ", ".join(sorted(kinds))
