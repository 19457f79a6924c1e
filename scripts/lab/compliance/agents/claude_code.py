"""Claude Code: its command line, and what is played with it."""

from __future__ import annotations

from lab.compliance.agent import Agent, Say, Scenario
from lab.compliance.scenarios import CONTINUED, FORKED


def _words(say: Say, session: str) -> list[str]:
    how = {
        "continue": ["--continue"],
        "compact": ["--continue"],
        "resume": ["--resume", session],
        "fork": ["--resume", session, "--fork-session"],
    }.get(say.how, [])
    prompt = "/compact" if say.how == "compact" else say.prompt
    always = ["--dangerously-skip-permissions", "--output-format", "json"]
    return [*always, *say.options, *how, "-p", prompt]


_SCENARIOS = (
    CONTINUED,
    FORKED,
    Scenario(
        "helpers",
        (
            Say("new", "[[helpers: send ada; shell]] Let somebody look."),
            Say("continue", "[[helpers: send ben cleo; read]] Let two look at once."),
        ),
    ),
    Scenario("background", (Say("new", "[[background: background dora; shell]] Have it done."),)),
    Scenario("nested", (Say("new", "[[nested: nest emil fay; shell]] Let somebody find one."),)),
    Scenario("copied", (Say("new", "[[copied: read; copy copy1; shell]] Go on as two."),)),
    Scenario(
        "compacted",
        (
            Say("new", "[[compacted: read; shell]] Please look at the notes."),
            Say("continue", "[[compacted: read]] And once more."),
            Say("compact"),
            Say("continue", "[[compacted: read]] What do you still know?"),
            Say("continue", "[[compacted:]] And now?"),
        ),
        frozenset({"compaction"}),
    ),
    Scenario(
        "full",
        (
            Say("new", "[[full: read*; shell]] Please look at the notes."),
            Say("continue", "[[full: read]] What do you still know?"),
            Say("continue", "[[full: shell]] And now?"),
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

CLAUDE_CODE = Agent(
    name="claude-code",
    package="@anthropic-ai/claude-code-{system}",
    version="2.1.329",
    program="@anthropic-ai/claude-code-*/claude",
    client="claude-code",
    words=_words,
    session=r'"session_id":"([0-9a-f-]{36})"',
    environment={
        "ANTHROPIC_API_KEY": "sk-ant-api03-dummy",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",  # it may do all it wants, though it runs as root
    },
    scenarios=_SCENARIOS,
)
