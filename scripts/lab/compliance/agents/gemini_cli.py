"""Gemini CLI: its command line, and what is played with it, with an API key."""

from __future__ import annotations

import json

from lab.compliance.agent import Agent, Say, Scenario

_PRO = ("--model", "gemini-2.5-pro")
_SETTINGS = {
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"disableAutoUpdate": True, "disableUpdateNag": True, "enableAutoUpdate": False},
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
}


def _words(say: Say, session: str) -> list[str]:
    how = ["--resume", "latest"] if say.how == "continue" else []
    return ["--yolo", *say.options, *how, "--prompt", say.prompt]


_SCENARIOS = (
    Scenario(
        "continued",
        (
            Say("new", "[[continued: read; shell]] Please look at the notes."),
            Say("continue", "[[continued: read]] And once more."),
            Say("continue", "[[continued:]] What did you find?"),
        ),
        frozenset({"router"}),
    ),
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
            Say("new", "[[full: read; shell]] Please look at the notes.", options=_PRO),
            Say("continue", "[[full: read*; shell]] And once more.", options=_PRO),
            Say("continue", "[[full: read]] What do you still know?", options=_PRO),
        ),
        frozenset({"compaction"}),
        prompt="pro",
    ),
    Scenario(
        "refused",
        (
            Say("new", "[[refused: read!; shell!]] Please look at the notes."),
            Say("continue", "[[refused: read]] And once more."),
        ),
    ),
)

GEMINI_CLI = Agent(
    name="gemini-cli",
    package="@google/gemini-cli",
    version="0.61.0",
    program="@google/gemini-cli/bundle/gemini.js",
    client="gemini-cli",
    words=_words,
    environment={
        "GEMINI_API_KEY": "AIzadummy",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_SANDBOX": "false",
    },
    home={".gemini/settings.json": json.dumps(_SETTINGS)},
    scenarios=_SCENARIOS,
    shares_agent=True,  # its helper has its own prompt, and one tool more
)
