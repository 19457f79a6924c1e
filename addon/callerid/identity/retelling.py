"""Replies as clients retell them: the model's words with more after them, or a tool call as text.

A history that goes through all of a session's newest call, and then on with an answer, is still
that session's if the answer holds what the model said there. It need not be said the same way.
"""

from __future__ import annotations

from collections.abc import Callable

from callerid.identity import history as histories
from callerid.identity.history import History
from callerid.identity.memory import Memory
from callerid.identity.session import Point, Session
from callerid.turn import Role, Unit
from callerid.wire import canonical

MIN_LETTERS = 12  # "Done." begins anybody's answer
NEWEST_IDS = 16  # of tool calls: more are not asked for at once


def reply_retold(
    call: Point, history: History, at: int, issuers: Callable[[], list[Session]], memory: Memory
) -> Point | None:
    """The reply to a call, if a history that has reached it (unit `at`) goes on from the reply.

    `issuers` are the sessions whose model issued the newest tool id in the history.
    """
    session, reply = call.session, call.session.head
    if at == len(history.units) or reply is None or reply.before is not call or not reply.is_reply:
        return None
    answer = history.units[at]
    if answer.role is not Role.ASSISTANT:
        return None
    is_retold = _holds(answer, call, memory) if answer.letters else session in issuers()
    return reply if is_retold else None


def _holds(answer: Unit, call: Point, memory: Memory) -> bool:
    """Whether a model's words, as a client tells them, hold its newest reply, or are part of it."""
    session, letters = call.session, answer.letters
    return (
        _begins(letters, call)
        or any(id in letters for _, id in memory.tool_ids.names_since(session, -NEWEST_IDS))
        or any(_letters(errand) in letters for errand in session.errands)
        or (len(letters) >= MIN_LETTERS and letters in _letters(session.tail))
    )


def _begins(letters: str, call: Point) -> bool:
    session = call.session
    if not MIN_LETTERS <= session.spoken < len(letters):
        return False
    first = canonical.words(letters[: session.spoken])
    name = histories.key(histories.beginning(session.scope), first)
    return session.said[call.turn : call.turn + 1] == [name]


def _letters(text: str) -> str:
    return text.replace(" ", "")
