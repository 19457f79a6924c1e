"""Messages are read once; a history names each of its prefixes, and keeps the names as it grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.identity import history
from callerid.identity.history import History
from callerid.turn import Dialect, Message, Opaque, Role, Text
from callerid.wire.canonical import DIGEST_BYTES
from callerid.wire.dialects import reader_of
from callerid.wire.messages import MessageReader
from callerid.wire.wirejson import NotJSON

HI = b'{"role":"user","content":"Hi"}'


def read(reader: MessageReader, raw: bytes, dialect: Dialect = Dialect.ANTHROPIC) -> Message:
    return reader.read(dialect, [raw], reader_of(dialect).read_parts)[0]


def other(number: int) -> bytes:
    return b'{"role":"user","content":"%026d"}' % number


# Reading


def test_a_message_is_who_and_what_with_the_very_bytes() -> None:
    raw = b'{ "content" : [{"type":"text","text":"\\u0048i"}], "role":"assistant"}'

    message = read(MessageReader(make.INJECTED), raw)

    assert (message.role, message.text, message.raw) == (Role.ASSISTANT, "Hi", raw)
    assert len(message.units) == 1


def test_the_same_bytes_are_read_once() -> None:
    reader = MessageReader(make.INJECTED)

    assert read(reader, HI) is read(reader, bytes(bytearray(HI)))


def test_the_same_bytes_of_two_dialects_are_two_messages() -> None:
    reader = MessageReader(make.INJECTED)
    raw = b'{"role":"tool","content":"9"}'

    assert read(reader, raw, Dialect.ANTHROPIC).role is Role.USER
    assert read(reader, raw, Dialect.OPENAI_CHAT).role is Role.TOOL


def test_what_is_sent_again_and_again_stays_read_and_other_things_are_forgotten() -> None:
    reader = MessageReader(make.INJECTED, remembered_bytes=10 * len(other(0)))
    kept, forgotten = read(reader, HI), read(reader, other(0))

    for number in range(1, 100):
        read(reader, other(number))
        assert read(reader, HI) is kept

    assert read(reader, other(0)) == forgotten
    assert read(reader, other(0)) is not forgotten


def test_a_message_longer_than_all_that_is_kept_is_read_nonetheless() -> None:
    assert read(MessageReader(make.INJECTED, remembered_bytes=1), HI).text == "Hi"


def test_a_broken_message_is_refused_each_time() -> None:
    reader = MessageReader(make.INJECTED)

    for _ in range(2):
        with pytest.raises(NotJSON):
            read(reader, HI[:-1])


@pytest.mark.parametrize(
    ("role", "expected"), [(Role.USER, "One\ntwo"), (Role.ASSISTANT, "Onetwo")], ids=str
)
def test_a_models_parts_go_on_where_a_persons_begin_anew(role: Role, expected: str) -> None:
    parts = (Text("One"), Opaque("image", b"i"), Text("two"))

    assert Message(role, parts, b"").text == expected


# Histories

WORDS = st.sampled_from(["Hello", "Go on", "Look again", "And then?", "Done", "1", "2"])
CALL = st.builds(lambda name: {"call": {"name": name, "arguments": {"at": name}}}, WORDS)
# One round at a time: results of parallel calls come together, never one now and one later.
ROUNDS = st.one_of(
    st.builds(lambda words: [{"user": words}], WORDS),
    st.builds(lambda words: [{"assistant": words}], WORDS),
    st.builds(lambda call, words: [call, {"result": words}], CALL, WORDS),
)
CONVERSATIONS = st.lists(ROUNDS, min_size=1, max_size=6)
DIALECTS = pytest.mark.parametrize("dialect", make.PATHS)


def trace(dialect: Dialect, rounds: list[list[dict[str, Any]]], scope: str = "key") -> History:
    """The history that some rounds make."""
    said = [item for round in rounds for item in round]
    return history.trace(history.beginning(scope), make.messages(dialect, *said))


@DIALECTS
@make.QUICK
@given(conversation=CONVERSATIONS, more=CONVERSATIONS)
def test_a_longer_history_keeps_the_links_of_the_shorter(
    dialect: Dialect, conversation: list[Any], more: list[Any]
) -> None:
    shorter, longer = trace(dialect, conversation), trace(dialect, conversation + more)

    assert longer.links[: len(shorter.links)] == shorter.links
    assert len(longer.links) > len(shorter.links)


@DIALECTS
@make.QUICK
@given(conversation=CONVERSATIONS, one=CONVERSATIONS, other=CONVERSATIONS)
def test_histories_that_part_never_meet_again(
    dialect: Dialect, conversation: list[Any], one: list[Any], other: list[Any]
) -> None:
    common = len(trace(dialect, conversation).links)
    here = trace(dialect, [*conversation, [{"user": "Left"}], *one])
    there = trace(dialect, [*conversation, [{"user": "Right"}], *other])

    assert set(here.links) & set(there.links) == set(here.links[:common])


@DIALECTS
@make.QUICK
@given(conversation=CONVERSATIONS, more=CONVERSATIONS)
def test_a_history_goes_on_from_a_link_as_from_all_before_it(
    dialect: Dialect, conversation: list[Any], more: list[Any]
) -> None:
    before = trace(dialect, conversation)
    said = [item for round in more for item in round]

    after = history.trace(before.end, make.messages(dialect, *said))

    assert before.links + after.links == trace(dialect, conversation + more).links


@make.QUICK
@given(conversation=CONVERSATIONS, one=st.text(max_size=9), other=st.text(max_size=9))
def test_two_customers_never_meet_in_one_name(
    conversation: list[Any], one: str, other: str
) -> None:
    mine, yours = (names(trace(Dialect.ANTHROPIC, conversation, scope)) for scope in (one, other))

    assert bool(mine & yours) == (one == other)


def names(traced: History) -> set[bytes | int]:
    """All that a history is found by."""
    keys = (history.key(traced.start, unit) for unit in traced.units)
    return {traced.start, *traced.links, history.salt(traced.start), *keys}


@make.QUICK
@given(CONVERSATIONS)
def test_every_link_is_another(conversation: list[Any]) -> None:
    links = trace(Dialect.ANTHROPIC, conversation).links

    assert len(set(links)) == len(links)
    assert {len(link) for link in links} == {DIGEST_BYTES}


def test_an_empty_history_ends_where_it_starts() -> None:
    empty = trace(Dialect.ANTHROPIC, [])

    assert empty.end == empty.start == history.beginning("key")


def test_system_messages_leave_a_history_as_it_is() -> None:
    hello, note = [{"user": "Hello"}], [{"system": "It is Monday."}]

    assert trace(Dialect.OPENAI_CHAT, [note, hello, note]) == trace(Dialect.OPENAI_CHAT, [hello])


def test_a_models_messages_in_a_row_can_be_taken_as_one() -> None:
    cut = trace(
        Dialect.ANTHROPIC, [[{"user": "Hi"}, {"assistant": "One, "}, {"assistant": "two."}]]
    )
    whole = trace(Dialect.ANTHROPIC, [[{"user": "Hi"}, {"assistant": "One, two."}]])

    assert cut != whole
    assert cut.joined() == whole
    assert whole.joined() is whole


def test_what_the_model_said_is_known_with_its_places() -> None:
    said = [{"user": "Hi"}, {"assistant": "Yes?"}, {"user": "Look"}]
    traced = trace(Dialect.ANTHROPIC, [[*said, {"call": {"name": "look"}}, {"result": "9"}]])

    assert [place for place, _ in traced.model_units()] == [1, 3]
