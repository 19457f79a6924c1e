"""Which agent asks: the system prompt and tools, with everything volatile taken out.

Not the model: people switch it in the middle of a conversation. Tools may grow, and a prompt may
be edited a little; close variants are one agent.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from rapidfuzz import fuzz

from callerid.identity import sketch
from callerid.turn import Call
from callerid.wire.canonical import digest

MAX_AGENTS = 5000
ALIKE = 90.0  # of 100: prompts of one agent differ in a line or two, those of two agents in most
COMPARED = 2000  # characters: rapidfuzz holds the interpreter, and the beginning names the agent
MASKED = 16_000  # characters as sent: enough to make those of, environment and all; masking costs
MAX_PROMPTS = 256  # remembered with what masking made of them
CANDIDATES = 8
SHARED_TOOLS = 0.5  # of all tools of both; a set that holds the other is close however it grew

# Claude Code's billing line (2.1.329, observed): a new hash with every request.
_BILLING = "x-anthropic-billing-header:"
_BILLING_LINE = re.compile(rf"{_BILLING}[^\n]*")
# What changes from call to call in the prompt of one agent, and the word that stands for it.
_VOLATILE = tuple(
    (re.compile(pattern, re.IGNORECASE), word)
    for pattern, word in (
        (r"\bcch=[0-9a-f]+;?", " "),  # of a billing line that somebody cut
        (r"<env>[^<]{0,4000}</env>", " "),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?", "TIME"),
        (r"\b\d{1,2}:\d\d(?::\d\d)?(?:\s?[ap]m)?\b", "TIME"),
        (r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b,?", "TIME"),
        (
            r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
            r" \d{1,2}(?:st|nd|rd|th)?,? \d{4}\b",
            "TIME",
        ),
        (r"\b[0-9a-f]{12,64}\b", "ID"),
        (r"(?<![\w/])(?:~|[a-z]:)?[/\\][\w.@~+-]+(?:[/\\][\w.@~+-]+)+[/\\]?", "PATH"),
        (r"\d+", "N"),
    )
)
_NAME = re.compile(r"\byou(?:'re| are) (?:an? |the )?([^.,;:\n]{3,60})", re.IGNORECASE)


def steady(system: str) -> str:
    """How a system prompt begins, with dates, times, paths, ids and numbers masked, and one space.

    What comes after is not looked at: whole documents stand in some prompts.
    """
    return _masked(_beginning(system))


def _beginning(system: str) -> str:
    """What is looked at of a prompt, without what is new in every call of one agent."""
    begun = system[:MASKED]
    return _BILLING_LINE.sub(" ", begun) if _BILLING in begun else begun


def _masked(text: str) -> str:
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return " ".join(text.split())[:COMPARED]


class Agent(msgspec.Struct, frozen=True):
    """One agent: its id, a name to read, its steady prompt and the tools it was first seen with."""

    id: str
    name: str
    prompt: str
    tools: frozenset[str]


class Agents:
    """The agents met so far, found by their prompt and tools; the least used goes first."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Agent] = OrderedDict()
        self._by_id: dict[str, Agent] = {}
        self._sketches: dict[int, list[Agent]] = {}
        self._prompts: dict[str, str] = {}
        self.on_new: Callable[[bytes, Agent], None] | None = None  # told of each new key

    def recognise(self, call: Call, client_name: str, id: str = "") -> Agent:
        """The agent that makes a call; a new one (by the id given) where no known one is close."""
        prompt = self._steady(call.system)
        tools = frozenset(call.tools)
        if (known := self._with_less(id, prompt, tools)) is not None:
            return known
        bare = not prompt and not tools
        key = digest(prompt, *sorted(tools), *([client_name] if bare else []))
        agent = self._known.get(key)
        if agent is None:
            agent = self._close(prompt, tools) if not bare else None
            agent = agent or Agent(
                id or f"agent_{key.hex()[:16]}", name_of(call, client_name), prompt, tools
            )
            self._keep(key, agent)
            if self.on_new is not None:
                self.on_new(key, agent)
        self._known.move_to_end(key)
        return agent

    def adopt(self, key: bytes, agent: Agent) -> None:
        """Take in an agent that somebody else has met first."""
        if key not in self._known:
            self._keep(key, self._by_id.get(agent.id, agent))

    def drop(self, key: bytes) -> None:
        """Forget what a prompt and tools were taken for."""
        gone = self._known.pop(key, None)
        if gone is not None and gone not in self._known.values():
            self._forget(gone)

    def known(self, id: str) -> Agent | None:
        """The agent with an id, if it is remembered."""
        return self._by_id.get(id)

    def within(self, id: str, asking: Agent) -> Agent:
        """Who asks within a session of an agent: that one, also where less of him is said.

        Agents are made to answer at last by a call with their prompt and no tools; and who only
        sends what is new may leave out the prompt.
        """
        return self._with_less(id, asking.prompt, asking.tools) or asking

    def _with_less(self, id: str, prompt: str, tools: frozenset[str]) -> Agent | None:
        agent = self._by_id.get(id)
        if agent is None:
            return None
        has_no_tools = not tools and prompt == agent.prompt
        has_no_prompt = not prompt and tools == agent.tools
        return agent if has_no_tools or has_no_prompt else None

    def _steady(self, system: str) -> str:
        """Masking costs; the same prompt comes with nearly every call."""
        begun = _beginning(system)
        prompt = self._prompts.get(begun)
        if prompt is None:
            prompt = _masked(begun)
            if len(self._prompts) >= MAX_PROMPTS:
                self._prompts.clear()
            self._prompts[begun] = prompt
        return prompt

    def _keep(self, key: bytes, agent: Agent) -> None:
        if agent not in self._known.values():
            for number in sketch.sketch(agent.prompt, 0):
                self._sketches.setdefault(number, []).append(agent)
        self._known[key] = self._by_id[agent.id] = agent
        if len(self._known) > MAX_AGENTS:
            _, gone = self._known.popitem(last=False)
            if gone not in self._known.values():
                self._forget(gone)

    def _forget(self, agent: Agent) -> None:
        self._by_id.pop(agent.id, None)
        for number in sketch.sketch(agent.prompt, 0):
            self._sketches[number].remove(agent)
            if not self._sketches[number]:
                del self._sketches[number]

    def _close(self, prompt: str, tools: frozenset[str]) -> Agent | None:
        votes: dict[str, tuple[int, Agent]] = {}
        for number in sketch.sketch(prompt, 0):
            for agent in self._sketches.get(number, ())[-CANDIDATES:]:
                votes[agent.id] = (votes.get(agent.id, (0, agent))[0] + 1, agent)
        best = sorted(votes.values(), key=lambda vote: -vote[0])[:CANDIDATES]
        for _, agent in best:
            if _tools_are_close(tools, agent.tools) and _prompts_are_close(prompt, agent.prompt):
                return agent
        return None


def _tools_are_close(one: frozenset[str], other: frozenset[str]) -> bool:
    if one <= other or other <= one:
        return bool(one) == bool(other)
    return len(one & other) / len(one | other) >= SHARED_TOOLS


def _prompts_are_close(one: str, other: str) -> bool:
    return one == other or fuzz.ratio(one, other, score_cutoff=ALIKE) > 0


def name_of(call: Call, client_name: str) -> str:
    """A readable name: the client's, or a slug of "You are ..." in the prompt."""
    if client_name:
        return client_name
    said = _NAME.search(call.system, 0, MASKED)
    slug = re.sub(r"[^a-z0-9]+", "-", said[1].lower())[:40].strip("-") if said else ""
    return slug or "agent"
