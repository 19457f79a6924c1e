"""Agents that proxies share: who is met first anywhere gives the others of his kind their id."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from callerid.identity.agents import MAX_AGENTS, Agent, Agents
from callerid.sharing.engine import Found, Write

AGENTS = "\x01agents"  # no session's id: those can be printed
KEPT_SECONDS = 30 * 86400.0  # after the newest agent was told


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """An agent, and the key of its prompt and tools."""

    key: bytes
    id: str
    name: str
    prompt: str
    tools: list[str]


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(list[_Row]).decode


class SharedAgents:
    """The agents of a switchboard, and by which prompts and tools others know them."""

    def __init__(self, agents: Agents, *, keeps_words: bool) -> None:
        self.version = 0
        self._agents = agents
        self._new: dict[bytes, Agent] = {}
        self._keeps_words = keeps_words
        agents.on_new = self._new.__setitem__

    def take_in(self, found: Found) -> None:
        """Take in the agents that others have told of."""
        if found.version <= self.version and found.since:
            return
        for raw in found.entries[max(self.version - found.since, 0) :]:
            for row in _read(raw):
                agent = Agent(row.id, row.name, row.prompt, frozenset(row.tools))
                self._agents.adopt(row.key, agent)
                self._new.pop(row.key, None)
        self.version = found.version

    def write(self) -> list[Write]:
        """What there is to be told."""
        if not self._new or self.version >= MAX_AGENTS:
            return []
        rows = [_row(key, agent, self._keeps_words) for key, agent in self._new.items()]
        return [Write(AGENTS, self.version, b"", _write(rows), KEPT_SECONDS)]

    def note(self, writes: Iterable[Write]) -> None:
        """The engine has taken what was told."""
        if any(write.id == AGENTS for write in writes):
            self.version += 1
            self._new.clear()

    def forget_new(self) -> None:
        """Forget who was taken for new: it may be somebody whom others have met."""
        for key in self._new:
            self._agents.drop(key)
        self._new.clear()

    def undo(self, found: Iterable[Found]) -> None:
        """Somebody else was quicker: forget who was taken for new, and take in what was told."""
        self.forget_new()
        self.version = 0
        for one in found:
            self.take_in(one)


def _row(key: bytes, agent: Agent, keeps_words: bool) -> _Row:
    """Without words an agent is only known again by the very same prompt."""
    if keeps_words:
        return _Row(key, agent.id, agent.name, agent.prompt, sorted(agent.tools))
    return _Row(key, agent.id, "agent", "", [])
