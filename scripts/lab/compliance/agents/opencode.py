"""OpenCode: its command line, and what is played with it, in three dialects."""

from __future__ import annotations

from lab.compliance.agent import Agent, Say, Scenario
from lab.compliance.scenarios import CONTINUED, FORKED

_ANTHROPIC = "anthropic/claude-sonnet-4-5"
_MODELS = {"anthropic": _ANTHROPIC, "openai": "openai/gpt-5.5", "google": "google/gemini-2.5-pro"}


def _words(say: Say, session: str) -> list[str]:
    how = {
        "continue": ["--continue"],
        "resume": ["--session", session],
        "fork": ["--session", session, "--fork"],
    }.get(say.how, [])
    model = say.options or _with(_ANTHROPIC)
    return ["run", "--auto", "--format", "json", *model, *how, say.prompt]


def _with(model: str) -> tuple[str, ...]:
    return ("--model", model)


def _talk(name: str) -> Scenario:
    """The same talk with another vendor's model."""
    model = _with(_MODELS[name])
    return Scenario(
        name,
        (
            Say("new", f"[[{name}: read; shell]] Please look at the notes.", options=model),
            Say("continue", f"[[{name}: read]] And once more.", options=model),
        ),
        frozenset({"title"}),
        prompt=name,
    )


_SCENARIOS = (
    CONTINUED._replace(kinds=frozenset({"title"})),
    FORKED,
    Scenario(
        "helpers",
        (
            Say("new", "[[helpers: send ada; shell]] Let somebody look."),
            Say("continue", "[[helpers: send ben cleo; read]] Let two look at once."),
        ),
    ),
    Scenario(
        "full",
        (
            Say("new", "[[full: read*; shell]] Please look at the notes."),
            Say("continue", "[[full: read]] What do you still know?"),
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
    _talk("openai"),
    _talk("google"),
)

OPENCODE = Agent(
    name="opencode",
    package="opencode-ai",
    version="1.18.33",
    program="opencode-{system}/bin/opencode",
    client="opencode",
    words=_words,
    session=r'"sessionID":"(ses_\w+)"',
    environment={
        "ANTHROPIC_API_KEY": "sk-ant-dummy",
        "OPENAI_API_KEY": "sk-dummy",
        "GOOGLE_GENERATIVE_AI_API_KEY": "AIzadummy",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_SHARE": "1",
    },
    scenarios=_SCENARIOS,
    shares_agent=True,  # its helpers have its own prompt, and fewer tools
)
