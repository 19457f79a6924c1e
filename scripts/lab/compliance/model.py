"""The scripted model: does what the newest script in a talk says, and notes whose call it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from lab import Answer, Asked, ToolCall, Usage
from lab.compliance import codemode
from lab.compliance.script import Script, Step, errand, helpers, root, scripts
from lab.compliance.wish import Said, Wish, fill, wish

NOTES = "notes.txt"
OVERLOADED = 529
FULL = Usage(input=990_000, cache_read=0, cache_write=0, output=40, reasoning=0)
SMALL = Usage(input=900, cache_read=0, cache_write=0, output=40, reasoning=0)

_WORDS = (
    "almanac barley candle dormouse ember falcon gravel harbour inkwell juniper kettle lantern "
    "is was has had took gave left found under over with without before after because unless"
)
WAIT_MILLISECONDS = 10_000  # the longest that an agent waits for a helper

_READERS = ("Read", "read", "read_file", "exec_command", "shell_command", "shell")
_SHELLS = ("Bash", "bash", "run_shell_command", "exec_command", "shell_command", "shell")
_SENDERS = ("Agent", "Task", "task", "spawn_agent", "invoke_agent", "delegate_to_agent")
_HELPERS = {"task": "general", "invoke_agent": "generalist"}  # the kind of helper, by the tool
_TOOLS = {"read": _READERS, "shell": _SHELLS, "wait": ("wait_agent",)}


class Heard(NamedTuple):
    """The truth about one call that arrived: which talk's, what for, and what it looked like."""

    label: str
    kind: str
    asked: Asked
    body: Any


def fingerprint(body: Any) -> str:
    """Names a body by what it says; a frame of a WebSocket is the same as its body."""
    said = {name: value for name, value in body.items() if name != "type"}
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class Model:
    """Answers for the fake provider. The notes to read are those of the talk's own project."""

    def __init__(self, projects: Path) -> None:
        self.heard: list[Heard] = []
        self._projects = projects
        self._done_once: set[tuple[str, str]] = set()
        self._talks: dict[str, tuple[int, Wish]] = {}  # by the id of the response

    def __call__(self, asked: Asked) -> Answer:
        body = asked.json
        place, before = self._talks.get(body.get("previous_response_id") or "", (-1, None))
        wanted = wish(asked.path, body, before)
        script, done = _position(wanted.said)
        self._note(script.label, wanted, asked, body, place)
        answer = self._answer(wanted, script, done, asked)
        said = Said("model", answer.text, bool(answer.tool_calls or answer.items))
        told = replace(wanted, said=(*wanted.said, said))
        self._talks[f"resp_{asked.serial:024}"] = (len(self.heard) - 1, told)
        return answer

    def _note(self, label: str, wanted: Wish, asked: Asked, body: Any, place: int) -> None:
        """Note a call; what it goes on with and had no label yet belongs to the same talk."""
        self.heard.append(Heard(label, wanted.task, asked, body))
        if place >= 0 and not self.heard[place].label:
            self.heard[place] = self.heard[place]._replace(label=label)

    def _answer(self, wanted: Wish, script: Script, done: int, asked: Asked) -> Answer:
        if answers := _ANSWERS.get(wanted.task):
            return answers(wanted, script, asked)
        if done < len(script.steps):
            step = script.steps[done]
            if step.refused and self._is_first(f"refuse {done}", script):
                return Answer("Overloaded", status=OVERLOADED)
            usage = FULL if step.is_big and self._is_first(f"fill {done}", script) else SMALL
            calls = self._calls(wanted, script.label, step)
            return _calling(wanted, calls, usage, _words(asked.serial), asked.serial)
        word = f"Answer {asked.serial} of {script.label}."
        if "complete_task" in wanted.tools:  # how Gemini's helpers end
            said = dict.fromkeys(("result", "response"), word)
            return Answer(tool_calls=(_call(wanted, "complete_task", said),))
        return Answer(word, usage=SMALL)

    def _is_first(self, what: str, script: Script) -> bool:
        """Whether this is done for the first time; an agent may come back to the same point."""
        deed = (what, str(script))
        is_first = deed not in self._done_once
        self._done_once.add(deed)
        return is_first

    def _calls(self, wanted: Wish, label: str, step: Step) -> tuple[ToolCall, ...]:
        notes = self._projects / root(label) / NOTES
        if step.word in _TOOLS:
            tool = _first(wanted, _TOOLS[step.word])
            return (_call(wanted, tool, _reading(notes)),)
        sender = _first(wanted, _SENDERS)
        return tuple(
            _call(wanted, sender, _sending(step, sender, name, errand(label, step, name)))
            for name in helpers(step)
        )


def _words(serial: int) -> str:
    """What a model says before it calls tools, as most do; no other answer is like it."""
    chosen = Random(serial).choices(_WORDS.split(), k=24)
    return f"Now step {serial}, in other words: {' '.join(chosen)}."


def _calling(
    wanted: Wish, calls: tuple[ToolCall, ...], usage: Usage, said: str, serial: int
) -> Answer:
    if not wanted.is_items:
        return Answer(said, tool_calls=calls, usage=usage)
    items = (codemode.item(call, wanted, serial, index) for index, call in enumerate(calls))
    return Answer(items=tuple(items), usage=usage)


def _position(said: tuple[Said, ...]) -> tuple[Script, int]:
    """The newest script of a talk, and how many of its steps were taken.

    Where no person has said one it is in a summary that stands for a model's words: its label.
    """
    for index in range(len(said) - 1, -1, -1):
        found = scripts(said[index].text) if said[index].by == "user" else []
        if found:
            return found[-1], sum(turn.calls for turn in said[index:])
    told = [script for turn in said for script in scripts(turn.text)]
    return (told[-1] if told else Script("")), 0


def _first(wanted: Wish, names: tuple[str, ...]) -> str:
    offered = codemode.offered(wanted)
    return next((name for name in names if name in offered), names[0])


def _call(wanted: Wish, name: str, known: dict[str, object]) -> ToolCall:
    if wanted.is_items and name not in wanted.tools:
        return ToolCall(name, codemode.arguments(name, known))
    return ToolCall(name, fill(wanted.tools.get(name), known))


def _reading(notes: Path) -> dict[str, object]:
    shell = f"cat {notes}; ls {notes.parent}"
    places = dict.fromkeys(("file_path", "absolute_path", "filePath", "path"), str(notes))
    shells = {"command": shell, "cmd": shell, "description": "Look at the notes"}
    return {**places, **shells, "timeout_ms": WAIT_MILLISECONDS}


def _sending(step: Step, tool: str, name: str, told: str) -> dict[str, object]:
    said = dict.fromkeys(("prompt", "message", "objective", "request", "query", "task"), told)
    kind = "fork" if step.word == "copy" else _HELPERS.get(tool, "general-purpose")
    kinds = {"subagent_type": kind, "agent_name": kind}
    called = {"description": f"Notes for {name}", "task_name": name}
    return {**said, **kinds, **called, "run_in_background": step.word == "background"}


def _title(wanted: Wish, script: Script, asked: Asked) -> Answer:
    title = f"Notes, {asked.serial}"
    return Answer(json.dumps(fill(wanted.schema, {"title": title})) if wanted.schema else title)


def _told_again(label: str, serial: int) -> str:
    """A summary as long as real ones are, and like no other; it says whose talk it sums up."""
    lines = [
        f"{part}. In part {part} of {label} the notes were read for the {serial + part}th time."
        for part in range(1, 13)
    ]
    return "\n".join((str(Script(label)), *lines))


def _summary(wanted: Wish, script: Script, asked: Asked) -> Answer:
    what = _told_again(script.label, asked.serial)
    if wanted.is_items:
        secret = sha256(str(asked.serial).encode()).hexdigest()
        item = {"type": "compaction", "id": f"cmp_{asked.serial}", "encrypted_content": secret}
        return Answer(items=(item,))
    tag = "state_snapshot" if "state_snapshot" in wanted.system else "summary"
    return Answer(f"<analysis>All is clear.</analysis>\n\n<{tag}>\n{what}\n</{tag}>")


def _routed(wanted: Wish, script: Script, asked: Asked) -> Answer:
    return Answer(json.dumps(fill(wanted.schema, {"model_choice": "flash", "reasoning": "simple"})))


def _nothing(wanted: Wish, script: Script, asked: Asked) -> Answer:
    return Answer()


_ANSWERS: dict[str, Callable[[Wish, Script, Asked], Answer]] = {
    "title": _title,
    "compaction": _summary,
    "router": _routed,
    "prewarm": _nothing,
    "count_tokens": _nothing,
}
