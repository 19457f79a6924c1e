"""Conversations of agents of any length, written beforehand: each call carries its history whole.

A conversation is written once, as the body of its last call; the bodies of the calls before are
beginnings of it. The text is made up, but has what real ones have: code, quotes, new lines.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from lab import canned

_END = b"]}"
_PROSE = 2_000_000  # characters to take texts from: more than any one conversation needs
_LONGEST = 100_000  # characters of one text
_WORDS = 3000
_CODE = ("if (a < b) {", "return", '\\"path\\":', "</li>", "=>", "\\n", "\\n", "    ", "#", "0.25")
_MOST_INSTRUCTIONS = 12_000  # bytes, of the system prompt and of the tools: about as agents have
_BYTES_A_TOOL = 1000


class Shape(NamedTuple):
    """Conversations of so many turns; each turn adds `growth` bytes, `size` is the mean body."""

    name: str
    size: int
    turns: int
    growth: int


class Call(NamedTuple):
    """A call ready to be sent: the name of its turn, and its body in two pieces."""

    turn: str
    body: memoryview
    end: bytes

    @property
    def length(self) -> int:
        return len(self.body) + len(self.end)


def conversation(number: int, shape: Shape, *, streams: bool = False) -> Iterator[Call]:
    """The calls of one conversation; no other number has the same texts."""
    chance = random.Random(number)
    beginning = _instructions(shape.size, streams=streams)
    first = shape.size - shape.growth * (shape.turns - 1) // 2 - len(beginning)
    past = max(first, 0) // shape.growth  # turns before the first call: it goes on with old things
    turns = [f"{number}-{at}" for at in range(past + shape.turns)]
    exchanges = [_exchange(turn, chance, shape.growth) for turn in turns[:-1]]
    opening = _opening(number, chance, first - past * shape.growth)
    pieces = ["".join([beginning, opening, *exchanges[:past]]), *exchanges[past:]]
    body = memoryview("".join(pieces).encode("ascii"))
    ends = itertools.accumulate(map(len, pieces))
    return (Call(turn, body[:end], _END) for turn, end in zip(turns[past:], ends, strict=True))


def _instructions(size: int, *, streams: bool) -> str:
    """A body up to its messages; the same for all conversations of a size."""
    chance = random.Random(size)
    room = min(size // 8, _MOST_INSTRUCTIONS)
    count = 1 + room // _BYTES_A_TOOL
    tools = ",".join(_tool(at, text(chance, room // count)) for at in range(count))
    return (
        f'{{"model":"claude-bench","max_tokens":1024,"stream":{str(streams).lower()},'
        f'"system":[{{"type":"text","text":"You are a patient reader. {text(chance, room)}"}}],'
        f'"tools":[{tools}],"messages":['
    )


def _tool(at: int, description: str) -> str:
    name = canned.TOOL if at == 0 else f"other_tool_{at}"
    schema = '{"type":"object","properties":{"path":{"type":"string"}}}'
    return f'{{"name":"{name}","description":"{description}","input_schema":{schema}}}'


def _opening(number: int, chance: random.Random, size: int) -> str:
    task = f"Task {number}: "
    return _user(f'"{task}{text(chance, size - len(_user(task)))}"')


def _exchange(turn: str, chance: random.Random, size: int) -> str:
    """What the model said in a turn, and what the tool that it wanted has said."""
    said = f',{{"role":"assistant","content":{json.dumps(canned.content(turn))}}},'
    result = f'{{"type":"tool_result","tool_use_id":"{canned.tool_id(turn)}","content":"'
    room = size - len(said) - len(result) - len(_user("[]")) - len('"}') - len(turn)
    return said + _user(f'[{result}{turn} {text(chance, room)}"}}]')


def _user(content: str) -> str:
    return f'{{"role":"user","content":{content}}}'


def text(chance: random.Random, size: int) -> str:
    """Some text as it stands between the quotes of JSON."""
    prose, starts = _prose()
    start = chance.choice(starts)
    text = prose[start : start + max(size, 1)]
    return text[:-1] + "." if text.endswith("\\") else text  # cut in the middle of an escape


@functools.cache
def _prose() -> tuple[str, list[int]]:
    """A long text, and the places in it where a word begins."""
    chance = random.Random(0)
    words = [
        "".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 10))) for _ in range(_WORDS)
    ]
    chosen = chance.choices([*words, *_CODE * 30], k=_PROSE // 6)
    starts, at = [], 0
    for word in chosen:
        starts.append(at)
        at += len(word) + 1
    return " ".join(chosen), [start for start in starts if start < at - _LONGEST]
