"""Newline-delimited JSON: a line an event, and how lines are told from a whole reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Dialect, Text
from callerid.wire import framing, ndjson
from callerid.wire.ndjson import Parser
from callerid.wire.parse import ReplyReader
from callerid.wire.sse import Event

STREAMS = st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"{}", b'{"a":"\\n"}', b"\xe2\x82"]))


def events(*chunks: bytes) -> list[Event]:
    """The events of a whole stream."""
    parser = Parser()
    return [each for chunk in chunks for each in parser.feed(chunk)] + parser.close()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"{}\n", [b"{}"]),
        (b"{}\r\n[]\r\n", [b"{}", b"[]"]),
        (b"\n\n {} \n \n", [b"{}"]),
        (b"{}\n7", [b"{}", b"7"]),
        (b"", []),
    ],
)
def test_each_line_that_is_not_blank_is_an_event(stream: bytes, expected: list[bytes]) -> None:
    assert events(stream) == [Event("", line) for line in expected]


@make.QUICK
@given(st.data())
def test_chunks_do_not_matter(data: st.DataObject) -> None:
    stream = b"".join(data.draw(STREAMS))
    chunks = data.draw(make.chunks(stream))

    assert events(*chunks) == events(stream) == events(*make.bytewise(stream))


def test_an_event_comes_with_the_end_of_its_line() -> None:
    parser = Parser()

    assert parser.feed(b'{"a"') == []
    assert parser.feed(b":1}\n{}\n7") == [Event("", b'{"a":1}'), Event("", b"{}")]
    assert parser.close() == [Event("", b"7")]
    assert parser.close() == []


def test_a_line_without_end_is_refused_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_EVENT_BYTES", 1000)

    with pytest.raises(ValueError, match="at most 1000 bytes"):
        events(*[b"x"] * 2000)


# Lines or a whole

HI = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": False}
END = {"model": "m", "message": {"role": "assistant", "content": " you"}, "done": True}
LINES = "".join(json.dumps(chunk) + "\n" for chunk in (HI, END)).encode()
WHOLE = json.dumps(END).encode()
TYPES = ["application/x-ndjson", "application/stream+json; charset=utf-8", "", "application/json"]


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("start", [b"", b"\n", b"\xef\xbb\xbf"])
def test_lines_are_known_by_the_first(content_type: str, start: bytes) -> None:
    for chunks in ([start + LINES], make.bytewise(start + LINES)):
        reply = make.reply(Dialect.OLLAMA, chunks, content_type=content_type)

        assert [message.parts for message in reply.messages] == [(Text("Hi you"),)]
        assert reply.complete


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("end", [b"", b"\n", b" \r\n"])
def test_one_object_is_a_whole_reply_or_one_line(content_type: str, end: bytes) -> None:
    for chunks in ([WHOLE + end], make.bytewise(WHOLE + end)):
        reply = make.reply(Dialect.OLLAMA, chunks, content_type=content_type)

        assert [message.text for message in reply.messages] == [" you"]
        assert reply.complete


def test_an_object_on_several_lines_is_a_whole_reply() -> None:
    body = json.dumps(END, indent=2).encode()

    for chunks in ([body], make.bytewise(body)):
        assert make.reply(Dialect.OLLAMA, chunks).messages[0].text == " you"


def test_a_first_line_beyond_the_bound_is_a_whole_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FIRST_LINE_BYTES", 20)

    assert make.reply(Dialect.OLLAMA, [WHOLE[:20], WHOLE[20:]]).messages[0].text == " you"


def test_broken_lines_are_skipped_and_counted() -> None:
    reading = ReplyReader(Dialect.OLLAMA, make.packed("application/x-ndjson"), make.reader())

    reading.feed(b'{"half\n' + LINES + b"no JSON\n")

    assert reading.is_complete
    assert [message.text for message in reading.finish(200).messages] == ["Hi you"]
    assert reading.broken_events == 2


def test_a_stream_that_breaks_off_keeps_what_has_come() -> None:
    reply = make.reply(Dialect.OLLAMA, [LINES[:-3]], content_type="application/x-ndjson")

    assert [message.text for message in reply.messages] == ["Hi"]
    assert not reply.complete
