"""The model's mind: it uses the tools that it is given for a while, then says something."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lab.exchange import Answer, Asked, ToolCall
from lab.frameworks.label import Label, label_of
from lab.frameworks.request import Read, read
from lab.frameworks.spoken import spoken
from lab.wires import openai_responses

_WORDS = re.findall(
    r"\w+",
    """
    report budget river plan engine customers quarter window invoice draft search market library
    error server branch module design colour number review weather city train ticket price hotel
    garden music recipe battery solar panel roof storage query index column value cache worker
    should could found this because after before between about under without several first next
    write read compare explain collect check update remove build
    """,
)
_MOST_TURNS = 14  # of the model in one conversation; then it only talks
_LAST = "final_answer"  # a tool with which an agent ends, where it must use tools
_NOT_WANTED = {_LAST, "write_todos"}
_ASKS_ANOTHER = re.compile(r"ask|task|agent|transfer|handoff|hand_off|research|delegate|coworker")
_LONG = re.compile(r"query|prompt|task|desc|instr|message|request|question|input|context|content")
# What a schema calls a text, where one of the scenario's agents must be named.
_NAMED = {"subagent_type": "critic", "to_agent": "writer", "agent_name": "billing",
          "member_id": "researcher", "coworker": "Researcher"}  # fmt: skip


class Mind:
    """Answers every dialect; the same each time, as far as a framework asks in the same order.

    Each label has chances of its own: it does not matter who else asks meanwhile.
    """

    def __init__(self) -> None:
        self._calls: Counter[Label] = Counter()
        self._turns: dict[str, tuple[int, int]] = {}  # all and since the user, by response
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        label = label_of(asked.path)
        if label is None:
            return Answer("nobody is labelled so", status=404)
        seen = read(asked)
        with self._lock:
            self._calls[label] += 1
            chance = random.Random(f"{label} {self._calls[label]}")
            seen = self._with_earlier(seen)
            answer = _answer(label, seen, chance)
            said = len(answer.tool_calls)
            turns = seen.turns + said, seen.turns_since_user + said
            self._turns[openai_responses.response_id(asked)] = turns
        return answer

    def _with_earlier(self, seen: Read) -> Read:
        """A request with the turns that it left with an earlier response."""
        turns, since = self._turns.get(seen.after, (0, 0))
        since = seen.turns_since_user + (0 if seen.has_user else since)
        return seen._replace(turns=seen.turns + turns, turns_since_user=since)


def _answer(label: Label, seen: Read, chance: random.Random) -> Answer:
    if seen.schema is not None and (not seen.tools or seen.turns_since_user >= label.steps):
        return Answer(json.dumps(_filled(seen.schema, chance)))
    if text := spoken(seen, label.steps, lambda count: _words(count, chance)):
        return Answer(text)
    wanted = sorted(seen.tools.keys() - _NOT_WANTED)
    # Where it must end with a tool, the client's words are the user's, too.
    done = seen.turns if _LAST in seen.tools else seen.turns_since_user
    if wanted and done < label.steps and seen.turns < _MOST_TURNS:
        asking = [name for name in wanted if _ASKS_ANOTHER.search(name.lower())]
        begins = done == 0
        name = chance.choice(asking if asking and begins else wanted)
        before = chance.choice(("", "", _words(10, chance) + "."))
        return Answer(before, (ToolCall(name, _object(seen.tools[name], chance)),))
    if _LAST in seen.tools:
        return Answer("", (ToolCall(_LAST, _object(seen.tools[_LAST], chance)),))
    lengths = (chance.randint(15, 60), chance.randint(15, 60))
    return Answer(chance.choice((*(_words(one, chance) + "." for one in lengths), "Done.")))


def _words(count: int, chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=count)).capitalize()


def _object(schema: Mapping[str, Any] | None, chance: random.Random) -> dict[str, Any]:
    made = _filled({"type": "object"} | dict(schema or {}), chance)
    assert isinstance(made, dict)
    return made


def _filled(schema: Mapping[str, Any], chance: random.Random, name: str = "") -> Any:
    """Something that a schema allows."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return chance.choice(schema["enum"])
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            return _filled(next(one for one in choices if one.get("type") != "null"), chance, name)
    kind = schema.get("type", "string")
    match str(kind[0] if isinstance(kind, list) else kind).lower():
        case "object":
            members = schema.get("properties") or {}
            required = schema.get("required") or list(members)
            return {key: _filled(members[key], chance, key) for key in required if key in members}
        case "array":
            return [_filled(schema.get("items") or {}, chance, name) for _ in range(2)]
        case "integer" | "number":
            return chance.randint(1, 9)
        case "boolean":
            return True
    if name in _NAMED:
        return _NAMED[name]
    if _LONG.search(name):
        return _words(chance.randint(6, 25), chance) + "."
    return _words(chance.randint(1, 3), chance).lower()
