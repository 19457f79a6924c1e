"""Codex: its command line, and what is played with it, over HTTP and over WebSocket."""

from __future__ import annotations

from lab.compliance.agent import Agent, Say, Scenario
from lab.compliance.scenarios import CONTINUED, FORKED

_SMALL = ("-c", "model_auto_compact_token_limit=30000")
_CONFIG = """\
[analytics]
enabled = false
[otel]
exporter = "none"
metrics_exporter = "none"
"""


def _words(say: Say, session: str) -> list[str]:
    how = {
        "continue": ["resume", "--last"],
        "resume": ["resume", session],
        "fork": ["fork", session],
    }.get(say.how, [])
    always = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return ["exec", *always, *how, *say.options, say.prompt]


_SCENARIOS = (
    CONTINUED,
    FORKED,
    Scenario(
        "helpers",
        (
            Say("new", "[[helpers: send ada; wait; shell]] Let somebody look."),
            Say("continue", "[[helpers: send ben cleo; wait; wait; read]] Let two look at once."),
        ),
    ),
    Scenario("background", (Say("new", "[[background: send dora; shell; wait]] Have it done."),)),
    Scenario("nested", (Say("new", "[[nested: nest emil fay; wait; shell]] Let one find one."),)),
    Scenario(
        "full",
        (
            Say("new", "[[full: read*; shell]] Please look at the notes.", options=_SMALL),
            Say("continue", "[[full: read]] What do you still know?", options=_SMALL),
        ),
        frozenset({"compaction"}),
    ),
    Scenario(
        "refused",
        (
            Say("new", "[[refused: read!; shell!]] Please look at the notes."),
            Say("continue", "[[refused: read]] And once more."),
        ),
    ),
)

CODEX = Agent(
    name="codex",
    package="@openai/codex",
    version="0.169.0",
    program="@openai/codex-*/vendor/*/bin/codex",
    client="codex",
    words=_words,
    session=r"session id: ([0-9a-f-]{36})",
    environment={"CODEX_API_KEY": "sk-dummy", "OPENAI_API_KEY": "sk-dummy"},
    home={".codex/config.toml": _CONFIG},
    scenarios=_SCENARIOS,
    shares_agent=True,
)

CODEX_SOCKETS = CODEX._replace(
    name="codex (socket)",
    opens_sockets=True,
    # The lab has no refusal inside a WebSocket.
    scenarios=tuple(one for one in _SCENARIOS if one.name != "refused"),
)
