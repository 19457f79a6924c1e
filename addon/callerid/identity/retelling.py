"""Replies as clients retell them: the model's words with more after them, or a tool call as text.

A history that goes through all of a session's newest call, and then on with an answer, is still
that session's if the answer holds what the model said there. It need not be said the same way.
"""

from __future__ import annotations

from collections.abc import Callable

from callerid.identity import history as histories
from callerid.identity.history import History
from callerid.identity.memory import Memory
from callerid.identity.quotes import MIN_CONTAINED
from callerid.identity.session import Point, Session
from callerid.turn import Role, Unit
from callerid.wire import canonical

MIN_LETTERS = 24  # "Done." begins anybody's answer
NEWEST_IDS = 16  # of tool calls: more are not asked for at once
LOOKED_AT = 20_000  # letters of an answer


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
    is_retold = _holds(answer, call, memory) if answer.letters else issuers() == [session]
    return reply if is_retold else None


def _holds(answer: Unit, call: Point, memory: Memory) -> bool:
    """Whether a model's words, as a client tells them, hold those of the newest reply to a call."""
    session, begun = call.session, answer.letters[:LOOKED_AT]
    return (
        _begins(answer.letters, call)
        or any(
            id in begun and memory.tool_ids.get((scope, id)) == [session]
            for scope, id in memory.tool_ids.names_since(session, -NEWEST_IDS)
        )
        or any(
            len(errand) >= MIN_CONTAINED and errand.replace(" ", "") in begun
            for errand in session.errands
        )
    )


def _begins(letters: str, call: Point) -> bool:
    session = call.session
    if not MIN_LETTERS <= session.spoken < len(letters):
        return False
    first = canonical.words(letters[: session.spoken])
    name = histories.key(histories.beginning(session.scope), first)
    return session.said[call.turn : call.turn + 1] == (name,)
