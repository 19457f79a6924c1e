"""The nouns: an agent, how it is started, and what is played with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lab.compliance.script import labels


class Say(NamedTuple):
    """One run of the agent's command: `how` is new, continue, resume, fork or compact.

    `of` is the label of the talk to resume or fork; `options` are more words for the command.
    """

    how: str
    prompt: str = ""
    of: str = ""
    options: tuple[str, ...] = ()


class Scenario(NamedTuple):
    """What is said to an agent, one after the other; `kinds` are calls that must come of it.

    `prompt` names the system prompt, where the agent has another one than usual: some choose it by
    the model.
    """

    name: str
    says: tuple[Say, ...]
    kinds: frozenset[str] = frozenset()
    prompt: str = ""

    def labels(self) -> list[str]:
        """Every talk that must come about."""
        return list(dict.fromkeys(label for say in self.says for label in labels(say.prompt)))


class Agent(NamedTuple):
    """A real agent: what to install, how to start it, and what callerid calls it.

    `program` is where it lies below node_modules (a glob pattern; a .js file is run with node),
    `home` are files that its home folder needs, `words` the arguments for one run (with the id of
    the session to go on with), `session` finds that id in what it printed. `shares_agent`: its
    helpers are the same agent as it is.
    """

    name: str
    package: str
    version: str
    program: str
    client: str
    words: Callable[[Say, str], list[str]]
    scenarios: tuple[Scenario, ...]
    session: str = ""
    environment: Mapping[str, str] = {}
    home: Mapping[str, str] = {}
    opens_sockets: bool = False
    shares_agent: bool = False

    @property
    def package_name(self) -> str:
        """The name without the ways in which it is run: `codex` for `codex (socket)`."""
        return self.name.partition(" ")[0]

    def session_of(self, printed: str) -> str:
        """The id of the session that a run was, by what it printed."""
        found = re.search(self.session, printed) if self.session else None
        return found[1] if found else ""

    def scenario(self, name: str) -> Scenario:
        """One of its scenarios; raises StopIteration where there is none of that name."""
        return next(one for one in self.scenarios if one.name == name)
