"""Agents: one prompt with its tools is one agent, however its dates, paths and numbers change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.identity import agents, sketch
from callerid.identity.agents import Agents, name_of, steady
from callerid.turn import Call, Dialect

PROMPT = (
    "You are a careful release engineer. You read the change log, compare it with the commits that"
    " were merged, ask for what is missing, and write notes that a customer understands. You never"
    " invent a feature, you quote the number of the ticket, and you end with a table of changes."
)
OTHER = (
    "You are a travel agent. Find connections by rail first, mention the price of each and how"
    " often one has to change, and book nothing before the traveller has said yes to a price."
)


TOOLS = ("look", "write")


def call(system: str = PROMPT, tools: tuple[str, ...] = TOOLS, model: str = "m") -> Call:
    return Call(Dialect.ANTHROPIC, model, False, system, tools, ())


@pytest.fixture
def known() -> Agents:
    return Agents()


# What changes from call to call

VOLATILE: dict[str, tuple[str, str]] = {
    "a date": ("Today is 2026-11-21.", "Today is 2025-01-02."),
    "a date in words": ("It is Saturday, November 21, 2026.", "It is Monday, March 2nd, 2025."),
    "a time": ("Now: 7:14", "Now: 11:59:30 pm"),
    "a moment": ("at 2026-11-21T07:14:00Z", "at 2025-01-02 23:59:59.123+01:00"),
    "a path": ("In /home/ann/work/site-a.", "In /srv/b."),
    "a path of windows": (r"In C:\Users\ann\work.", r"In D:\src\b."),
    "a path at home": ("In ~/work/a.", "In ~/b/c/d."),
    "an id": (
        "Session 0b3f7f2c-9a1d-4c52-8f0e-3d2a1b4c5d6e.",
        "Session 11111111-2222-3333-4444-555555555555.",
    ),
    "a hash": ("At commit 9fceb02d0ae598e9.", "At commit 1234567890abcdef1234."),
    "a number": ("You have 12 tokens left.", "You have 15000 tokens left."),
    "white space": ("Be brief.\n\n Be kind.", "Be brief. Be kind.\n"),
    "a billing line": (
        "x-anthropic-billing-header: cc_version=2.1.329.656; cch=0a1b2;\nBe kind.",
        "x-anthropic-billing-header: cc_version=2.1.329.777; cch=fffff; cc_turn_index=3;\nBe kind.",
    ),
    "an environment": (
        "<env>\nIs directory a git repo: Yes\nPlatform: linux\n</env> Be kind.",
        "<env>\nIs directory a git repo: No\nPlatform: darwin\nShell: zsh\n</env> Be kind.",
    ),
}


@pytest.mark.parametrize(("one", "other"), VOLATILE.values(), ids=VOLATILE)
def test_what_changes_from_call_to_call_is_masked(one: str, other: str) -> None:
    assert steady(one) == steady(other) != ""


def test_words_stay() -> None:
    assert steady(PROMPT) == PROMPT


@make.QUICK
@given(st.dates(), st.dates(), st.integers(0, 10**9), st.integers(0, 10**9))
def test_no_date_or_number_makes_another_agent(
    one: object, other: object, few: int, many: int
) -> None:
    known = Agents()

    agents = [
        known.recognise(call(f"{PROMPT} It is {date}, you have {count} left."), "")
        for date, count in ((one, few), (other, many))
    ]

    assert agents[0] is agents[1]


# Who is one, and who is another


def test_the_same_prompt_and_tools_are_one_agent_whatever_the_model(known: Agents) -> None:
    one = known.recognise(call(model="big"), "")

    assert known.recognise(call(model="small"), "") is one
    assert known.recognise(call(tools=TOOLS[::-1]), "") is one


def test_agents_get_the_same_id_in_every_memory() -> None:
    one, other = (Agents().recognise(call(), "") for _ in range(2))

    assert one.id == other.id
    assert one.id.startswith("agent_")


@pytest.mark.parametrize(
    "system",
    [
        PROMPT + " Be brief.",
        PROMPT.replace("a customer", "every customer"),
        "Note: it is a holiday. " + PROMPT,
    ],
)
def test_a_prompt_that_is_edited_a_little_is_the_same_agent(known: Agents, system: str) -> None:
    assert known.recognise(call(), "") is known.recognise(call(system), "")


@pytest.mark.parametrize("tools", [(*TOOLS, "search"), ("look",), (*TOOLS, *"abcdefghij")])
def test_tools_may_grow_and_shrink(known: Agents, tools: tuple[str, ...]) -> None:
    assert known.recognise(call(), "") is known.recognise(call(tools=tools), "")


@pytest.mark.parametrize(
    ("system", "tools"),
    [
        (OTHER, TOOLS),
        (f"{PROMPT} {OTHER}", TOOLS),
        (PROMPT, ("book", "pay", "cancel")),
        (PROMPT, ()),
    ],
    ids=["another prompt", "a prompt within another", "other tools", "no tools"],
)
def test_another_prompt_or_other_tools_are_another_agent(
    known: Agents, system: str, tools: tuple[str, ...]
) -> None:
    assert known.recognise(call(), "").id != known.recognise(call(system, tools), "").id


def test_agents_that_say_nothing_are_told_apart_by_their_client(known: Agents) -> None:
    one, same, other = (known.recognise(call("", ()), name) for name in ("aider", "aider", "codex"))

    assert one is same
    assert one.id != other.id


def test_an_id_on_record_is_kept(known: Agents) -> None:
    recorded = known.recognise(call(), "", id="agent_recorded")

    assert recorded.id == "agent_recorded"
    assert known.recognise(call(), "") is recorded


def test_the_agent_that_was_silent_for_longest_is_forgotten_first(
    known: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "MAX_AGENTS", 2)
    one, other, third = (f"You are {name}." for name in ("a cook who bakes", "Ann", "the police"))

    first = known.recognise(call(one), "", id="agent_first")
    known.recognise(call(other), "", id="agent_second")
    known.recognise(call(one), "")
    known.recognise(call(third), "")

    assert known.recognise(call(one), "") is first
    assert known.recognise(call(other), "").id != "agent_second"


def test_of_a_long_prompt_only_the_beginning_is_kept(known: Agents) -> None:
    documents = "A document that stands in the prompt. " * 5000

    agent = known.recognise(call(PROMPT + documents), "")

    assert len(agent.prompt) <= agents.COMPARED
    assert known.recognise(call(PROMPT + documents + "And one more."), "") is agent


def test_a_prompt_with_a_new_billing_line_is_not_masked_again(known: Agents) -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.329.656; cch={:05x};\n"

    for number in range(5):
        known.recognise(call(line.format(number) + PROMPT), "")

    assert len(known._prompts) == 1


def test_of_agents_that_are_forgotten_nothing_is_left(
    known: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "MAX_AGENTS", 2)
    prompts = [" ".join(f"{word}{letter}" for word in PROMPT.split()) for letter in "abcdef"]

    for prompt in prompts:
        known.recognise(call(prompt), "")

    assert len(known._sketches) == 2 * sketch.SKETCH_SIZE


# Names


@pytest.mark.parametrize(
    ("system", "client", "expected"),
    [
        (PROMPT, "", "careful-release-engineer"),
        ("You're the Travel Agent, of course.", "", "travel-agent"),
        ("you are Claude Code: a tool", "", "claude-code"),
        ("You are an expert in C++/Rust. Be brief.", "", "expert-in-c-rust"),
        (PROMPT, "claude-code", "claude-code"),
        ("Be brief.", "", "agent"),
        ("", "", "agent"),
        ("You are " + "very " * 11 + "kind", "", "very-very-very-very-very-very-very-very"),
        ("Du bist ein Koch. You are 厨师们。", "", "agent"),
    ],
)
def test_a_name_is_the_clients_or_what_the_prompt_says_it_is(
    system: str, client: str, expected: str
) -> None:
    assert name_of(call(system), client) == expected
