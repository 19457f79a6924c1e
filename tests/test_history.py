"""A history is a chain of hashes: it may be made at once, or built on a shorter one."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import make
from callerid.identity import history as histories
from callerid.turn import Dialect, Message, Role, Text
from callerid.wire import canonical
from callerid.wire.messages import MessageReader

SAID = st.lists(
    st.builds(lambda who, words: {who: words}, st.sampled_from(["user", "assistant", "system"]),
              st.sampled_from("abc"))
    | st.builds(lambda words: {"result": words}, st.sampled_from("12"))
    | st.just({"call": {"name": "look"}}),
    max_size=8,
)  # fmt: skip


@make.THOROUGH
@given(before=SAID, length=st.integers(0, 8), more=SAID)
def test_a_history_that_is_built_on_another_is_as_if_made_at_once(
    before: list[Any], length: int, more: list[Any]
) -> None:
    first, second = (make.messages(Dialect.OPENAI_CHAT, *said) for said in (before, more))
    whole = (*first[:length], *second)

    base = histories.trail("scope").grown(0, first)
    grown = base.grown(min(length, len(first)), second)

    assert grown.messages == whole
    assert grown.history == histories.trace(histories.beginning("scope"), whole)


def lines(*numbers: int) -> list[Message]:
    return [told(number) for number in numbers]


@functools.cache
def told(number: int) -> Message:
    role = Role.ASSISTANT if number % 2 else Role.USER
    return MessageReader(canonical.injected_pattern([])).make(
        b"%d" % number, role, (Text(f"Line {number}."),)
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_goes_on_from_a_known_history_is_traced_as_it_would_be_alone(
    data: st.DataObject,
) -> None:
    trails = histories.Trails()
    said = lines(*range(40))
    for _ in range(data.draw(st.integers(2, 12))):
        del said[data.draw(st.integers(max(len(said) - 12, 0), len(said))) :]
        said += lines(*data.draw(st.lists(st.integers(0, 99), max_size=6)))
        scope = data.draw(st.sampled_from(["one", "two"]))

        found = trails.history(scope, tuple(said))

        assert found == histories.trace(histories.beginning(scope), said)


def test_so_many_histories_are_kept_and_nothing_of_the_others() -> None:
    trails = histories.Trails()
    for number in range(3 * histories.MOST_TRAILS):
        said = tuple(lines(*range(number, number + 30)))
        trails.history("one", said)

    assert len(trails._known) == histories.MOST_TRAILS
    assert set(trails._by_message.values()) <= set(trails._known)
