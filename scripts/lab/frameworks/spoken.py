"""Tool calls as text, as some frameworks have the model write them: a row for each way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from lab.frameworks.request import Read

Words = Callable[[int], str]  # so many words
_Way = Callable[[Read, int, Words], str]
_DONE = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


def spoken(seen: Read, steps: int, words: Words) -> str:
    """What the model says where tools are called in text; "" where they are not."""
    if seen.tools:
        return ""
    ways = (way for is_meant, way in _WAYS if is_meant(seen))
    way = next(ways, None)
    return way(seen, steps, words) if way else ""


def _shell(seen: Read, steps: int, words: Words) -> str:
    """A command in a block of its own: mini-swe-agent."""
    command = _DONE if seen.turns > steps else f"echo {words(3)}"
    return f"THOUGHT: {words(12)}.\n\n```mswea_bash_command\n{command}\n```"


def _python(seen: Read, steps: int, words: Words) -> str:
    """Python in code tags: smolagents."""
    others = re.findall(r"def (\w+)\(task: ?str", seen.system)
    if seen.turns >= steps:
        code = f'final_answer("{words(12)}")'
    elif others and not seen.turns_since_user:
        code = f'found = {others[0]}(task="{words(15)}")\nprint(found)'
    else:
        code = f'print("{words(5)}")'
    return f"Thought: {words(10)}.\n<code>\n{code}\n</code>"


def _action(seen: Read, steps: int, words: Words) -> str:
    """A line for the action and one for its input: what ReAct began with."""
    names = re.findall(r"Tool Name: (\S+)", seen.text)
    if not names or seen.turns_since_user >= steps:
        return f"Thought: I now can give a great answer\nFinal Answer: {words(30)}."
    arguments = {"task": words(15), "context": words(20), "coworker": "Researcher",
                 "query": words(3), "question": words(10)}  # fmt: skip
    given = json.dumps(arguments)
    return f"Thought: {words(8)}.\nAction: {names[0]}\nAction Input: {given}"


def _marked(seen: Read, steps: int, words: Words) -> str:
    """Fields with marked names: DSPy. What was done so far stands in the newest message."""
    if "[[ ## next_tool_name ## ]]" not in seen.text:
        return _fields(reasoning=words(10), answer=words(8))
    is_done = f"thought_{steps}" in seen.newest
    tool, given = ("finish", {}) if is_done else ("search", {"query": words(5)})
    return _fields(next_thought=words(14), next_tool_name=tool, next_tool_args=json.dumps(given))


def _fields(**fields: str) -> str:
    marked = (f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items())
    return "".join(marked) + "[[ ## completed ## ]]"


def _tagged(seen: Read, steps: int, words: Words) -> str:
    """JSON in tags, for models without tool calls of their own: Qwen-Agent."""
    if seen.turns_since_user >= steps or "<tool_response>" in seen.newest:
        return ""
    name = re.findall(r'"name": "(\w+)"', seen.system)
    call = json.dumps({"name": name[0], "arguments": {"query": words(4)}}) if name else ""
    return f"{words(6)}.\n<tool_call>\n{call}\n</tool_call>" if call else ""


def _next_speaker(seen: Read, steps: int, words: Words) -> str:
    """The name of who speaks next: AutoGen's selector."""
    names = re.findall(r"'(\w+)'", re.findall(r"from (\[[^]]*\])", seen.text)[-1])
    return str(names[len(seen.text) % len(names)])


_WAYS: tuple[tuple[Callable[[Read], bool], _Way], ...] = (
    (lambda seen: "mswea_bash_command" in seen.text, _shell),
    (lambda seen: "<code>" in seen.system and _LAST in seen.system, _python),
    (lambda seen: "[[ ## completed ## ]]" in seen.text, _marked),
    (lambda seen: "Action Input:" in seen.text and "Final Answer:" in seen.text, _action),
    (lambda seen: "<tool_call>" in seen.system, _tagged),
    (lambda seen: "Only return the role" in seen.text, _next_speaker),
)
_LAST = "final_answer"
