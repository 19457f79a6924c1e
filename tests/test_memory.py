"""What is remembered of a session is bounded, however long it lives."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import make
from callerid.identity import quotes, remember, sketch
from callerid.identity.session import Session
from callerid.identity.switchboard import Switchboard, Turn
from callerid.settings.load import load
from callerid.turn import Dialect

IN_ONE_SESSION = (("x-session-id", "job-of-the-night"),)


@pytest.fixture
def board() -> Switchboard:
    serial = itertools.count(1)
    return Switchboard(load(), lambda prefix: f"{prefix}_{next(serial):08}")


def ask(board: Switchboard, messages: list[Any], now: float, *reply: Any) -> Turn:
    """A call that is answered by some blocks."""
    body = {"model": "m", "messages": messages}
    turn = board.take(make.request(body, headers=IN_ONE_SESSION), now)
    assert turn is not None
    answer = {"id": f"msg_{now}", "role": "assistant", "content": list(reply)}
    board.answer(turn, make.whole(Dialect.ANTHROPIC, answer), now, has_failed=False)
    return turn


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def write(number: int) -> dict[str, Any]:
    words = " ".join(f"word{number}of{at}" for at in range(20))
    return {"type": "tool_use", "id": f"toolu_{number:09}", "name": "Write", "input": {"to": words}}


def session_of(turn: Turn) -> Session:
    assert turn.session is not None
    return turn.session


def test_names_of_errands_go_with_them(board: Switchboard) -> None:
    for number in range(5 * quotes.MAX_ERRANDS):
        turn = ask(board, [{"role": "user", "content": "Go"}], float(number), write(number))

    session = session_of(turn)
    assert len(session.errands) == quotes.MAX_ERRANDS
    assert board.memory.errands.count(session) <= quotes.MAX_ERRANDS * sketch.SKETCH_SIZE
    newest = next(reversed(session.errands))
    assert board.memory.errands.get(session.errands[newest][0]) == [session]


def test_of_an_endless_session_the_newest_part_is_remembered(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "MAX_POINTS", 20)

    for number in range(100):
        asked = [{"role": "user", "content": f"Event {number}"}]
        turn = ask(board, asked, float(number), text(f"Noted: number {number}."), write(number))

    session = session_of(turn)
    assert board.memory.points.count(session) <= 20
    assert len(session.said) <= 20
    point, points = session.head, 0
    while point is not None:
        point, points = point.before, points + 1
    assert points <= 20
    for index in (board.memory.units, board.memory.responses, board.memory.tool_ids):
        assert index.count(session) <= 40


def test_a_history_goes_on_after_its_beginning_was_forgotten(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "MAX_POINTS", 20)
    said: list[Any] = []

    for number in range(50):
        said.append({"role": "user", "content": f"Question {number}"})
        turn = ask(board, said, float(number), text(f"Answer {number}, at some length."))
        said.append({"role": "assistant", "content": [text(f"Answer {number}, at some length.")]})
    said.append({"role": "user", "content": "And without the header?"})
    body = {"model": "m", "messages": said}
    bare = board.take(make.request(body), 51.0)

    assert bare is not None
    assert bare.session is session_of(turn)
