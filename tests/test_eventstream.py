"""AWS event streams: frames are read by the rules, and whatever comes is bounded and counted."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.turn import Dialect, Text
from callerid.wire import eventstream
from callerid.wire.eventstream import Parser
from callerid.wire.parse import ReplyReader
from callerid.wire.sse import Event


def header(name: str, value: str) -> bytes:
    """One header whose value is a text."""
    written = value.encode()
    return bytes([len(name)]) + name.encode() + b"\7" + struct.pack(">H", len(written)) + written


def frame(payload: bytes, headers: bytes = b"") -> bytes:
    """One frame, with its checksums."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return begun + struct.pack(">I", zlib.crc32(begun))


def event(name: str, data: Any) -> bytes:
    """The frame of an event, as Bedrock sends it."""
    headers = header(":event-type", name) + header(":content-type", "application/json")
    return frame(json.dumps(data).encode(), headers + header(":message-type", "event"))


def chunk(data: Any) -> bytes:
    """The frame of a model's own event at InvokeModelWithResponseStream."""
    packed = base64.b64encode(json.dumps(data).encode()).decode()
    return event("chunk", {"bytes": packed, "p": "abcdef"})


def exception(name: str, message: str) -> bytes:
    """The frame of an exception that the API's model knows."""
    headers = header(":exception-type", name) + header(":message-type", "exception")
    return frame(json.dumps({"message": message}).encode(), headers)


def events(*chunks: bytes) -> list[Event]:
    """The events that some chunks complete."""
    parser = Parser()
    return [each for chunk in chunks for each in parser.feed(chunk)] + parser.close()


# Frames


def test_a_frame_is_an_event_with_its_name() -> None:
    assert events(event("metadata", {"a": 1})) == [Event("metadata", b'{"a": 1}')]


def test_a_chunk_holds_the_models_own_event() -> None:
    assert events(chunk({"type": "ping"})) == [Event("", b'{"type": "ping"}')]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"bytes": 7}', b'{"bytes": "a"}'])
def test_a_chunk_that_holds_nothing_is_its_payload(payload: bytes) -> None:
    assert events(frame(payload, header(":event-type", "chunk"))) == [Event("", payload)]


def test_an_exception_is_an_error() -> None:
    (found,) = events(exception("throttlingException", "Slow down"))

    assert found.name == "error"
    assert json.loads(found.data) == {
        "type": "error",
        "error": {"type": "throttlingException", "message": "Slow down"},
    }


def test_an_error_that_the_apis_model_does_not_know_stands_in_the_headers() -> None:
    headers = [(":message-type", "error"), (":error-code", "500"), (":error-message", "Sorry")]

    (found,) = events(frame(b"", b"".join(header(*pair) for pair in headers)))

    assert json.loads(found.data)["error"] == {"type": "500", "message": "Sorry"}


# All types of headers: https://smithy.io/2.0/aws/amazon-eventstream.html
VALUES = {
    "true": b"\0",
    "false": b"\1",
    "byte": b"\2\x01",
    "short": b"\3\0\1",
    "integer": b"\4\0\0\0\1",
    "long": b"\5" + b"\0" * 8,
    "bytes": b"\6\0\3abc",
    "timestamp": b"\x08" + b"\0" * 8,
    "uuid": b"\x09" + b"\0" * 16,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_headers_of_other_types_are_passed_over(value: bytes) -> None:
    other = b"\5other" + value

    assert events(frame(b"{}", other + header(":event-type", "e"))) == [Event("e", b"{}")]


@pytest.mark.parametrize("rest", [b"\5other\x0a", b"\5oth", b"\xff", b"\5other\7\xff\xff"])
def test_headers_that_cannot_be_read_end_there(rest: bytes) -> None:
    assert events(frame(b"{}", header(":event-type", "e") + rest)) == [Event("e", b"{}")]


# Streams

STREAM = event("a", {"n": 1}) + chunk({"n": 2}) + exception("e", "Sorry") + frame(b"{}")


@make.QUICK
@given(st.data())
def test_chunks_do_not_matter(data: st.DataObject) -> None:
    chunks = data.draw(make.chunks(STREAM))

    assert events(*chunks) == events(STREAM) == events(*make.bytewise(STREAM))
    assert len(events(STREAM)) == 4


def test_an_event_comes_with_the_byte_that_completes_it() -> None:
    parser = Parser()
    whole = event("e", {})

    assert parser.feed(whole[:-1]) == []
    assert parser.feed(whole[-1:] + whole) == [Event("e", b"{}")] * 2


def test_a_frame_that_is_cut_off_is_none() -> None:
    assert events(event("e", {}) + event("e", {})[:-1]) == [Event("e", b"{}")]


@make.QUICK
@given(st.binary(max_size=60))
def test_after_what_is_no_frame_nothing_is_read(garbage: bytes) -> None:
    found = events(event("e", {}) + garbage.ljust(12, b"x") + event("e", {}))

    assert found in ([Event("e", b"{}"), Event("", b"")], [Event("e", b"{}")])


def test_a_frame_beyond_the_bound_is_refused_before_it_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eventstream, "MAX_FRAME_BYTES", 100)

    assert events(frame(b"x" * 200)[:12]) == [Event("", b"")]


@pytest.mark.parametrize(("length", "headers"), [(15, 0), (16, 1), (0, 0), (20, 2**31)])
def test_lengths_that_cannot_be_are_those_of_no_frame(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)

    assert eventstream.frame_length(prelude + struct.pack(">I", zlib.crc32(prelude))) == 0


# Replies in frames

HI = chunk({"outputText": "Hi", "completionReason": "FINISH"})
AWS = "application/vnd.amazon.eventstream"


@pytest.mark.parametrize(
    "content_type", [AWS, "Application/Vnd.Amazon.EventStream; a=b", "", "x/y"]
)
def test_frames_are_known_by_their_first_bytes(content_type: str) -> None:
    for chunks in ([HI], make.bytewise(HI)):
        reply = make.reply(Dialect.COMPLETIONS, chunks, content_type=content_type)

        assert [message.parts for message in reply.messages] == [(Text("Hi"),)]
        assert reply.complete


def test_a_whole_reply_is_known_where_frames_are_announced() -> None:
    reply = make.reply(Dialect.COMPLETIONS, [b'{"generation": "Hi"}'], content_type=AWS)

    assert [message.text for message in reply.messages] == ["Hi"]


def test_broken_frames_are_counted() -> None:
    reading = ReplyReader(Dialect.COMPLETIONS, make.packed(AWS), make.reader())

    reading.feed(frame(b"no JSON") + HI + b"\0" * 12)

    assert [message.text for message in reading.finish(200).messages] == ["Hi"]
    assert reading.broken_events == 2


@make.QUICK
@given(st.binary(max_size=60), st.sampled_from(["", AWS]))
def test_whatever_follows_a_nought_is_a_reply(rest: bytes, content_type: str) -> None:
    assert not make.reply(Dialect.ANTHROPIC, [b"\0" + rest], content_type=content_type).messages
