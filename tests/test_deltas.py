"""What goes to the process that records: of bodies that grow, only what is new."""

from __future__ import annotations

import json
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callerid.traces.deltas import (
    LEAST_BYTES,
    Delta,
    Kept,
    Lengthener,
    Shortener,
    shared_end,
    shared_start,
)

LONG = b"a line of what was said, " * (LEAST_BYTES // 20)


def alike(one: bytes, two: bytes) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


@given(st.binary(max_size=300), st.binary(max_size=30), st.binary(max_size=30), st.integers(0, 400))
def test_what_two_texts_share(long: bytes, one: bytes, two: bytes, most: int) -> None:
    assert shared_start(long + one, long + two) == alike(long + one, long + two)
    first, second = one + long, two + long
    asked = min(most, len(first), len(second))
    assert shared_end(first, second, asked) == min(alike(first[::-1], second[::-1]), asked)


def test_what_two_long_texts_share() -> None:
    one = LONG * 40
    for at in (0, 1, len(one) // 3, 65_535, 65_536, 65_537, len(one) - 1):
        two = one[:at] + b"#" + one[at + 1 :]
        assert shared_start(one, two) == at
        assert shared_end(one, two, len(one)) == len(one) - at - 1


# Bodies of three conversations, each of which grows in the middle, changes, or begins anew.
_STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.binary(max_size=20)), max_size=25
)


@given(_STEPS, st.integers(1, 6), st.integers(0, 3 * len(LONG)))
def test_every_body_arrives_as_it_was(
    steps: list[tuple[int, int, bytes]], most_bodies: int, most_bytes: int
) -> None:
    here = Shortener(Kept(most_bytes, most_bodies))
    there = Lengthener(Kept(most_bytes, most_bodies))
    said = {0: LONG, 1: LONG, 2: b"short"}
    for line, change, new in steps:
        old = said[line]
        middle = len(old) // 2
        body = {0: old + new, 1: old[:middle] + new + old[middle:], 2: new, 3: LONG + new}[change]
        said[line] = body
        lines = [line, (line + 1) % 3]
        delta, rest = here.shorten(body, lines)
        here.keep(delta, body, line)
        assert there.lengthen(delta, rest) == body


def test_of_a_conversation_that_grows_only_what_is_new_goes() -> None:
    shortener, sent, whole = Shortener(), 0, 0
    messages: list[object] = []
    tools = [{"name": f"tool{at}", "description": "It reads a file. " * 40} for at in range(20)]
    for turn in range(40):
        messages += [
            {"role": "user", "content": f"Turn {turn}. " + "Look at this. " * 100},
            {"role": "assistant", "content": f"Seen {turn}."},
        ]
        body = json.dumps({"model": "m", "messages": messages, "tools": tools}).encode()
        delta, new = shortener.shorten(body, ["sess_1"])
        shortener.keep(delta, body, "sess_1")
        sent, whole = sent + len(new), whole + len(body)
    assert whole > 1_000_000
    # All of it once, and no turn's words again; the tools stand behind what grows.
    assert sent < len(body) + 40 * 100


def test_a_child_begins_with_what_its_parent_said() -> None:
    shortener = Shortener()
    body = LONG + b"the parent's"
    shortener.keep(shortener.shorten(body, ["parent"])[0], body, "parent")
    delta, new = shortener.shorten(LONG + b"the child's", ["child", "parent"])
    assert (delta.base, delta.gone, new) == (1, 0, b"child")


def test_what_was_not_sent_is_not_built_upon() -> None:
    shortener = Shortener()
    shortener.shorten(LONG, ["one"])
    delta, new = shortener.shorten(LONG + b"more", ["one"])
    assert delta == Delta(name=1)
    assert new == LONG + b"more"


def test_short_bodies_are_not_kept() -> None:
    shortener = Shortener()
    assert shortener.shorten(b"{}", ["one"]) == (Delta(), b"{}")
    shortener.keep(Delta(), b"{}", "one")
    assert shortener.shorten(LONG, ["one"]) == (Delta(name=1), LONG)


def test_a_body_that_is_not_there_is_told() -> None:
    with pytest.raises(KeyError, match="body 7"):
        Lengthener().lengthen(Delta(base=7, start=3, name=8), b"new")
