"""Server-sent events: the rules of the WHATWG, and that chunks do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.wire import sse
from callerid.wire.sse import Event, Parser

BOM = b"\xef\xbb\xbf"
# What streams are made of, the awkward parts most of all.
TOKENS = (
    b"\r",
    b"\n",
    b"\r\n",
    b":",
    b" ",
    b"data",
    b"data: x",
    b"event: e",
    b"id",
    BOM,
    b"\xe2\x82",
)
STREAMS = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=20).map(b"".join)


def events(*chunks: bytes) -> list[Event]:
    """The events that some chunks complete."""
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def events_to_the_end(chunks: list[bytes]) -> list[Event]:
    """The events of a whole stream, with the one that its end cut off."""
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.close()


RULES = {
    "a line of data and an empty line": (b"data: Hi\n\n", [Event("", b"Hi")]),
    "no space after the colon": (b"data:Hi\n\n", [Event("", b"Hi")]),
    "one space goes, others stay": (b"data:  Hi \n\n", [Event("", b" Hi ")]),
    "the first colon divides": (b"data: a: b\n\n", [Event("", b"a: b")]),
    "lines of data are joined": (b"data: a\ndata: b\n\n", [Event("", b"a\nb")]),
    "a field without a colon is empty": (b"data\n\n", [Event("", b"")]),
    "empty lines of data are lines": (b"data\ndata\n\n", [Event("", b"\n")]),
    "a name": (b"event: e\ndata: 1\n\n", [Event("e", b"1")]),
    "a name after the data": (b"data: 1\nevent: e\n\n", [Event("e", b"1")]),
    "the last name counts": (b"event: a\nevent: b\ndata: 1\n\n", [Event("b", b"1")]),
    "a comment is no event": (b": ping\n\n", []),
    "a name alone is no event": (b"event: e\n\n", []),
    "empty lines are no events": (b"\n\n\n", []),
    "other fields are skipped": (b"id: 7\nretry: 9\nDATA: x\n\ndata: 1\n\n", [Event("", b"1")]),
    "a space before a field": (b" data: x\ndata: 1\n\n", [Event("", b"1")]),
    "signs of many bytes": ("data: é€😀\n\n".encode(), [Event("", "é€😀".encode())]),
    "no other line ends": (b"data: \0\x1c\x85\n\n", [Event("", b"\0\x1c\x85")]),
}


@pytest.mark.parametrize(("stream", "expected"), RULES.values(), ids=RULES)
def test_a_stream_is_read_by_the_rules(stream: bytes, expected: list[Event]) -> None:
    assert events(stream) == expected


def test_a_name_is_for_one_event_only() -> None:
    stream = b"event: e\n\ndata: 1\n\nevent: f\ndata: 2\n\ndata: 3\n\n"

    assert events(stream) == [Event("", b"1"), Event("f", b"2"), Event("", b"3")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_lines_end_in_lf_cr_or_crlf(end: bytes) -> None:
    stream = end.join([b"event: e", b"data: 1", b"data: 2", b"", b"data: 3", b"", b": end"])

    assert events(stream) == [Event("e", b"1\n2"), Event("", b"3")]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (BOM + b"data: 1\n\n", [Event("", b"1")]),
        (BOM + BOM + b"data: 1\n\n", []),
        (b"\n" + BOM + b"data: 1\n\n", []),
    ],
    ids=["at the start", "twice", "after the start"],
)
def test_one_byte_order_mark_at_the_start_is_dropped(stream: bytes, expected: list[Event]) -> None:
    assert events(stream) == expected
    assert events(*make.bytewise(stream)) == expected


@make.QUICK
@given(st.data())
def test_chunks_do_not_matter(data: st.DataObject) -> None:
    stream = data.draw(STREAMS)
    chunks = data.draw(make.chunks(stream))

    assert events_to_the_end(chunks) == events_to_the_end([stream])
    assert events_to_the_end(make.bytewise(stream)) == events_to_the_end([stream])


def test_an_event_comes_with_the_byte_that_completes_it() -> None:
    parser = Parser()

    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\n") == [Event("", b"1")]
    assert parser.feed(b"data: 2\n\ndata: 3\n\ndata") == [Event("", b"2"), Event("", b"3")]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"data: 2\n", [Event("", b"2")]),
        (b"event: e\ndata: 2", [Event("e", b"2")]),
        (b"data: 2\r", [Event("", b"2")]),
        (b"data: 2\r\r", [Event("", b"2")]),
        (b"event: e", []),
        (b"", []),
    ],
)
def test_an_event_that_is_cut_off_is_given_on_closing_only(
    rest: bytes, expected: list[Event]
) -> None:
    parser = Parser()

    assert parser.feed(b"data: 1\n\n" + rest) == [Event("", b"1")]
    assert parser.close() == expected


@pytest.mark.parametrize(
    "line",
    [b"x", b"data: x\n", b"data:\n"],
    ids=["one long line", "many lines of data", "many empty lines of data"],
)
def test_an_event_without_end_is_refused_at_the_bound(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)

    with pytest.raises(ValueError, match="at most 1000 bytes"):
        events(*[line] * 2000)


def test_events_of_any_number_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)

    assert len(events(*[b"data: " + b"x" * 900 + b"\n\n"] * 100)) == 100
