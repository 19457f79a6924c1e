"""A body that goes on from another is split as if it stood alone; only sooner."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callerid.wire import growing, wirejson
from callerid.wire.growing import MOST_BODIES, TRIED, Bodies, Members

LONG = "What was said before, at length. " * 40


def body(messages: list[Any], *, spaced: bool = False, **others: Any) -> bytes:
    before = {name: value for name, value in others.items() if name.startswith("a")}
    after = {name: value for name, value in others.items() if not name.startswith("a")}
    said = before | {"messages": messages} | after
    return json.dumps(said, separators=None if spaced else (",", ":")).encode()


def talk(length: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{at}: {LONG}"} for at in range(length)]


def alone(raw: bytes) -> tuple[dict[str, bytes], list[bytes]]:
    members = wirejson.members(raw)
    return members, wirejson.items(members["messages"])


def after(*bodies: bytes) -> tuple[dict[str, bytes], list[bytes]]:
    """The newest body as it is split after the others."""
    known = Bodies()
    for each in bodies:
        members = known.members(each)
    return dict(members), growing.items(members, "messages")


def is_grown(*bodies: bytes) -> bool:
    """Whether the newest body was split by going on from another: it has items of that one."""
    known = Bodies()
    for each in bodies[:-1]:
        first = known.members(each)
    items = growing.items(first, "messages")
    found = growing.items(known.members(bodies[-1]), "messages")
    return items[0] is found[0]


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("others", [{}, {"a_system": "x\n", "stream": True, "zeta": [1]}])
def test_a_history_that_grows(spaced: bool, others: dict[str, Any]) -> None:
    bodies = [body(talk(length), spaced=spaced, **others) for length in (10, 12, 13, 20)]

    for at in range(1, len(bodies)):
        assert after(*bodies[: at + 1]) == alone(bodies[at])
        assert list(after(*bodies[: at + 1])[0]) == list(alone(bodies[at])[0])
        assert is_grown(*bodies[: at + 1])


def test_a_history_whose_last_messages_change() -> None:
    first = talk(24)
    for changed in range(1, TRIED + 3):
        second = [*first[:-changed], *({"role": "user", "content": f"n{n}"} for n in range(5))]
        bodies = body(first), body(second, stream=True)

        assert after(*bodies) == alone(bodies[1])
        assert is_grown(*bodies) is (changed < TRIED)


def test_a_history_that_is_sent_again_or_goes_back() -> None:
    for length in (12, 11, 8):
        bodies = body(talk(12)), body(talk(length))

        assert after(*bodies) == alone(bodies[1])
        assert is_grown(*bodies)


def test_a_system_prompt_that_changes_begins_anew() -> None:
    bodies = body(talk(12), a_system="one"), body(talk(13), a_system="two")

    assert after(*bodies) == alone(bodies[1])
    assert not is_grown(*bodies)


@pytest.mark.parametrize(
    "twice",
    [
        b',"messages":[1]}',
        b',"a":2}',
        b',"mess\\u0061ges":[]}',
        b',"callerid\'s own":[1],"callerid\'s own":[2]}',
        b',"callerid\\u0027s own":[1]}',
    ],
)
def test_what_is_said_twice_counts_as_it_would_alone(twice: bytes) -> None:
    first = body(talk(12), a=1)
    second = body(talk(13), a=1)[:-1] + twice

    assert after(first, second) == alone(second)
    assert after(second, body(talk(14), a=1)) == alone(body(talk(14), a=1))


def test_members_said_twice_before_the_history() -> None:
    first = b'{"a":1,' + body(talk(12))[1:-1] + b',"a":2}'
    second = b'{"a":1,' + body(talk(13))[1:]

    assert after(first, second) == alone(second)


def test_an_array_within_another_member_or_a_text() -> None:
    inner, grown = json.dumps(talk(12)), json.dumps(talk(13))
    pairs = [
        ('{"metadata":{"copy":%s},"messages":%s}', (inner, inner), (grown, grown)),
        ('{"metadata":{"copy":%s},"messages":%s}', (inner, inner), (inner, grown)),
        ('{"note":%s,"messages":%s}', (json.dumps(inner), inner), (json.dumps(grown), grown)),
    ]
    numbers, more = json.dumps([1] * 9000), json.dumps([1] * 9001)
    pairs.append(('{"note":"%s","messages":%s}', (numbers, numbers), (more, more)))
    for written, one, other in pairs:
        first, second = (written % one).encode(), (written % other).encode()

        assert after(first, second) == alone(second)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"]",
        b",]}",
        b',{"role":"user"}',
        b',{"role":"user"}]',
        b',{"role":"user"}]}}',
        b',{"role" "user"}]}',
        b' {"role":"user"}]}',
        b'],"b":}',
    ],
)
def test_what_is_no_json_alone_is_none_after_another(broken: bytes) -> None:
    first = body(talk(12))
    known = Bodies()
    known.members(first)

    with pytest.raises(wirejson.NotJSON):
        wirejson.members(first[:-2] + broken)
    with pytest.raises(wirejson.NotJSON):
        known.members(first[:-2] + broken)
    assert after(first, body(talk(13))) == alone(body(talk(13)))


def test_halves_of_characters_are_read_as_they_would_be_alone() -> None:
    first = body(talk(12))
    second = first[:-2] + b',{"role":"user","content":"\\ud800"}]}'
    third = second[:-2] + b',{"role":"user","content":"more"}]}'

    assert after(first, second) == alone(second)
    assert after(first, second, third) == alone(third)


def test_small_bodies_and_those_without_arrays_are_split_as_ever() -> None:
    known = Bodies()

    assert not isinstance(known.members(b'{"messages":[{"role":"user"}]}'), Members)
    assert not isinstance(known.members(json.dumps({"prompt": LONG * 30}).encode()), Members)
    with pytest.raises(wirejson.NotJSON):
        known.members(b"[" + b"1," * 9000 + b"1]")


def test_so_many_bodies_are_kept_and_so_many_bytes() -> None:
    known = Bodies(most_bytes=100_000)
    for number in range(3 * MOST_BODIES):
        known.members(body(talk(8), a=number))
        assert known._bytes == sum(len(split.body) for split in known._known.values()) <= 100_000
    many = Bodies()
    for number in range(3 * MOST_BODIES):
        many.members(body(talk(8), a=number))
    assert len(many._known) == MOST_BODIES


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_line_of_bodies_is_split_as_each_would_be_alone(data: st.DataObject) -> None:
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    known = Bodies()
    said: list[Any] = talk(9)
    for _ in range(data.draw(st.integers(2, 6))):
        del said[data.draw(st.integers(max(len(said) - 10, 0), len(said))) :]
        said += data.draw(st.lists(VALUES, max_size=4))
        if len(said) < 4:
            said += talk(8)
        others = data.draw(
            st.dictionaries(st.sampled_from(["a", "ab", "s", "t", "system"]), VALUES)
        )
        raw = body(said, spaced=data.draw(st.booleans()), **others)
        if data.draw(st.integers(0, 4)) == 0:
            at = chance.randrange(len(raw))
            raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        try:
            expected = wirejson.members(raw)
        except wirejson.NotJSON:
            with pytest.raises(wirejson.NotJSON):
                known.members(raw)
            continue
        found = known.members(raw)
        assert dict(found) == expected
        assert list(found) == list(expected)
        if isinstance(found, Members):
            assert list(found.items_of_array) == wirejson.items(expected[found.array])
