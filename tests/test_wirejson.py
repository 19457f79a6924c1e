"""JSON of strangers: split without decoding, looked at without trust."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.wire import wirejson
from callerid.wire.wirejson import NotJSON

OBJECTS = st.dictionaries(st.text(max_size=8), make.JSON, max_size=4)
# Bytes that stand for something in JSON, in no order.
NEARLY_JSON = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b":", b",", b'"', b"1", b"e9", b"\\ud800", b" ", b"\xff"]
    )
).map(b"".join)


@make.QUICK
@given(value=make.JSON, indent=st.sampled_from([None, 0, 3]), ascii=st.booleans())
def test_what_was_written_is_read(value: Any, indent: int | None, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    raw = text.encode("utf-8", "surrogatepass")

    assert wirejson.decode(raw) == value


def test_members_are_the_very_bytes_that_were_sent_in_their_order() -> None:
    raw = b'{ "z" : [1,  2.50] , "a":{"b" :\n"\\u00e9"}, "\\u00e9": null }'

    members = wirejson.members(raw)

    assert members == {"z": b"[1,  2.50]", "a": b'{"b" :\n"\\u00e9"}', "é": b"null"}
    assert list(members) == ["z", "a", "é"]


def test_items_are_the_very_bytes_that_were_sent_in_their_order() -> None:
    assert wirejson.items(b' [ {"b" : 1}, "\\u00e9",1e2 ] ') == [b'{"b" : 1}', b'"\\u00e9"', b"1e2"]


def test_of_two_members_with_one_name_the_last_counts() -> None:
    raw = b'{"a": 1, "a": 2}'

    assert wirejson.members(raw) == {"a": b"2"}
    assert wirejson.decode(raw) == {"a": 2}


@pytest.mark.parametrize("raw", [b"[1]", b'"text"', b"7", b"null", b"", b"{", b'{"a":1}}', b"\xff"])
def test_only_an_object_has_members(raw: bytes) -> None:
    with pytest.raises(NotJSON):
        wirejson.members(raw)


@pytest.mark.parametrize("raw", [b"{}", b'"text"', b"7", b"null", b"", b"[", b"[1]]", b"\xff"])
def test_only_an_array_has_items(raw: bytes) -> None:
    with pytest.raises(NotJSON):
        wirejson.items(raw)


def test_the_complaint_says_what_was_expected_and_what_came_but_not_its_words() -> None:
    with pytest.raises(NotJSON, match=r"^expected a JSON object, got list$"):
        wirejson.members(b'["secret"]')
    with pytest.raises(NotJSON, match=r"^expected JSON, got 8 bytes that are none: ") as caught:
        wirejson.decode(b'{secret"')
    assert "secret" not in str(caught.value)


LONE = b'{"a": "\\ud800!", "b": ["\\udfff", {"c": 1}]}'


def test_lone_surrogates_are_read_and_written_again() -> None:
    assert wirejson.decode(LONE) == {"a": "\ud800!", "b": ["\udfff", {"c": 1}]}
    assert wirejson.decode(wirejson.members(LONE)["b"]) == ["\udfff", {"c": 1}]
    assert wirejson.decode(wirejson.items(wirejson.members(LONE)["b"])[0]) == "\udfff"
    assert wirejson.decode(wirejson.encode(wirejson.decode(LONE))) == wirejson.decode(LONE)


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (wirejson.decode, b"[" * 500_000 + b"]" * 500_000),
        (wirejson.items, b"[" * 500_000 + b"]" * 500_000),
        (wirejson.members, b'{"a":' * 500_000 + b"1" + b"}" * 500_000),
    ],
)
def test_nesting_without_end_is_refused(read: Callable[[bytes], object], raw: bytes) -> None:
    with pytest.raises(NotJSON, match="expected JSON, got"):
        read(raw)


@make.QUICK
@given(raw=st.binary(max_size=20) | NEARLY_JSON)
def test_whatever_bytes_come_they_are_read_or_refused(raw: bytes) -> None:
    for read in (wirejson.decode, wirejson.members, wirejson.items):
        with suppress(NotJSON):
            read(raw)


@make.QUICK
@given(make.JSON)
def test_what_is_encoded_is_compact_and_means_the_same(value: Any) -> None:
    raw = wirejson.encode(value)

    assert json.loads(raw) == value
    assert b" " not in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw)


@make.QUICK
@given(value=OBJECTS, seed=st.integers())
def test_sorted_json_does_not_know_the_order_of_members(value: dict[str, Any], seed: int) -> None:
    shuffled = list(value.items())
    random.Random(seed).shuffle(shuffled)

    assert wirejson.encode_sorted({"in": dict(shuffled)}) == wirejson.encode_sorted({"in": value})


@make.QUICK
@given(one=make.JSON, other=make.JSON)
def test_sorted_json_keeps_different_values_apart(one: Any, other: Any) -> None:
    are_equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert (wirejson.encode_sorted(one) == wirejson.encode_sorted(other)) == are_equal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("7", 7),
        ("", ""),
        ('{"a": "cut o', '{"a": "cut o'),
        ("plain words", "plain words"),
        ("\ud800", "\ud800"),
        ('"\ud800"', "\ud800"),
    ],
)
def test_text_that_is_no_json_stays_text(text: str, expected: object) -> None:
    assert wirejson.decode_or_text(text) == expected


@make.QUICK
@given(make.JSON)
def test_looking_takes_what_is_right_and_nothing_else(value: Any) -> None:
    is_count = type(value) is int and value >= 0

    assert wirejson.mapping(value) == (value if type(value) is dict else {})
    assert wirejson.sequence(value) == (value if type(value) is list else [])
    assert wirejson.string(value) == (value if type(value) is str else "")
    assert wirejson.count(value) == (value if is_count else None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["a", "b"], 1),
        (["a"], {"b": 1}),
        ([], {"a": {"b": 1}}),
        (["b"], None),
        (["a", "b", "c"], None),
    ],
)
def test_a_path_ends_in_a_value_or_in_nothing(path: list[str], expected: object) -> None:
    assert wirejson.at({"a": {"b": 1}}, *path) == expected
