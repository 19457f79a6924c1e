"""A history is a chain of hashes: it may be made at once, or built on a shorter one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.identity import history as histories
from callerid.turn import Dialect

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
