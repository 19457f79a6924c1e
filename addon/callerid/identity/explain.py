"""Why a call was put where it was: the ladder, rung by rung."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from callerid.identity import identify as rungs
from callerid.identity import prompts
from callerid.identity.declaration import by_declaration
from callerid.identity.match import Match
from callerid.identity.question import Question
from callerid.turn import Because, Kind, Role


class Rung(NamedTuple):
    """A rung of the ladder: what it looked at, what it found; `decided` where the climb ended."""

    name: str
    looked_at: str
    found: str
    decided: bool


def ladder(question: Question, match: Match) -> list[Rung]:
    """Every rung from the top to the one that decided."""
    climbed: list[Rung] = []
    for name, rung, looked_at in _RUNGS:
        found = rung(question)
        climbed.append(Rung(name, looked_at(question), _words(found), found is not None))
        if found is not None:
            break
    if (again := rungs.reset(question, rungs.identify(question))) is not None:
        climbed.append(Rung("reset", f"the phrase {question.reset_phrase!r}", _words(again), True))
    return climbed


def climbed(because: Because, evidence: str) -> list[Rung]:
    """The rungs as far as is known from what decided alone: those above found nothing.

    A correction is no rung, but a person's word.
    """
    order = list(Because)
    decided = order.index(because)
    above = [rung for rung in order[:decided] if rung is not Because.CORRECTION]
    return [
        *(Rung(rung.value, "", "nothing", False) for rung in above),
        Rung(because.value, "", evidence, True),
    ]


def _words(found: Match | None) -> str:
    if found is None:
        return "nothing"
    where = found.session.id if found.session else found.new_id or "a new session"
    return f"{where} ({found.because} {found.confidence:.2f}): {found.evidence}"


def _declared(question: Question) -> str:
    said = question.declared
    names = {"session": said.session, "run": said.run, "parent": said.parent, "agent": said.agent}
    told = ", ".join(f"{name} {value}" for name, value in names.items() if value)
    return f"what the client declares: {told or 'no session, no run'}"


def _response_id(question: Question) -> str:
    return f"the reply that the call names: {question.answered_id or 'none'}"


def _history(question: Question) -> str:
    return (
        f"{len(question.history.units)} things said, "
        f"{len(question.history.model_units())} of them by the model"
    )


def _prompt(question: Question) -> str:
    if not prompts.is_prompt(question.call.messages):
        return "nothing: there is more than a prompt"
    return "live sessions whose prompt and reply this prompt begins with"


def _tool_id(question: Question) -> str:
    return "the live session whose newest reply made the newest tool call, by its id"


def _compaction(question: Question) -> str:
    return f"the opening, {sum(map(len, question.opening))} characters, for a summary of ours"


def _likeness(question: Question) -> str:
    if not question.settings.fuzzy_matching:
        return "nothing: fuzzy_matching is false"
    spoken = sum(message.role is not Role.SYSTEM for message in question.call.messages)
    least = question.settings.min_messages_for_new_session
    if spoken < least:
        return f"nothing: {spoken} messages are fewer than min_messages_for_new_session = {least}"
    return f"live sessions with the same words, from {question.settings.fuzzy_threshold} alike"


def _errand(question: Question) -> str:
    return "the newest words, for an errand that the model gave to a tool just before them"


def _opening(question: Question) -> str:
    other = "side calls" if question.kind is Kind.MAIN else "conversations"
    return f"{other} of the last minutes that share the first words"


def _connection(question: Question) -> str:
    return f"calls of kind {question.kind} on the same connection"


def _new(question: Question) -> str:
    return "the opening, for an errand that a live session's model gave to a tool"


_RUNGS: tuple[tuple[str, Callable[[Question], Match | None], Callable[[Question], str]], ...] = (
    ("header, body", by_declaration, _declared),
    ("response_id", rungs.by_response_id, _response_id),
    ("errand", rungs.by_errand, _errand),
    ("history, retry", rungs.by_history, _history),
    ("prompt", rungs.by_prompt, _prompt),
    ("tool id", rungs.by_tool_id, _tool_id),
    ("compaction", rungs.by_compaction, _compaction),
    ("likeness", rungs.by_likeness, _likeness),
    ("opening", rungs.by_opening, _opening),
    ("connection", rungs.by_connection, _connection),
    ("new", rungs.newcomer, _new),
)
