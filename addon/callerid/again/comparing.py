"""A call as it was answered then and now, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import unified_diff
from typing import NamedTuple

from callerid.again.estimate import Estimate
from callerid.again.rebuild import Origin
from callerid.again.sending import Answer, words
from callerid.again.speech import tools_asked
from callerid.turn import Message


class Side(NamedTuple):
    """One of two answers; `trouble` is why there is none. None is unknown."""

    model: str
    text: str
    tools: tuple[str, ...]
    cost: Estimate
    first_byte: float | None
    trouble: str = ""


def then(origin: Origin) -> Side:
    """The answer that is on record."""
    facts, reply = origin.facts, origin.messages[origin.own :]
    cost = Estimate(facts.input_tokens, facts.output_tokens, facts.cost_usd)
    trouble = facts.error_message or facts.error_type or "" if facts.has_failed else ""
    return Side(
        facts.model, _words(reply), tuple(tools_asked(reply)), cost, facts.first_byte_seconds,
        trouble,
    )  # fmt: skip


def now(answer: Answer, model: str, cost: Estimate) -> Side:
    """The answer that has just come."""
    reply = answer.reply
    has_failed = answer.status >= 400 or bool(reply.error)
    return Side(
        reply.model or model, words(reply), tuple(tools_asked(reply.messages)), cost,
        answer.first_byte,
        f"{answer.status}: {reply.error_message or reply.error}" if has_failed else "",
    )  # fmt: skip


def difference(one: Side, two: Side) -> list[str]:
    """The lines of a unified diff of the words; empty where they are the same."""
    return list(unified_diff(one.text.splitlines(), two.text.splitlines(), "then", "now", "", "",
                             1, ""))  # fmt: skip


def _words(messages: Sequence[Message]) -> str:
    return "".join(message.text for message in messages)
