"""The agents, in the order in which they are played."""

from __future__ import annotations

from lab.compliance.agent import Agent
from lab.compliance.agents.claude_code import CLAUDE_CODE
from lab.compliance.agents.codex import CODEX, CODEX_SOCKETS
from lab.compliance.agents.gemini_cli import GEMINI_CLI
from lab.compliance.agents.opencode import OPENCODE

# The scenarios in which most can go wrong: helpers, one after the other and side by side, and a
# history that is full and is summed up.
QUICK = ("helpers", "full")

AGENTS: tuple[Agent, ...] = (CLAUDE_CODE, CODEX, CODEX_SOCKETS, OPENCODE, GEMINI_CLI)
