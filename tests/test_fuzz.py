"""Every parser, with bytes that nobody meant for it: it may raise what it says, and nothing else.

In CI for some seconds; for longer with CALLERID_FUZZ_EXAMPLES=20000, say. What is drawn are true
inputs with pieces taken out, doubled, swapped and overwritten: pure noise is refused at the door.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import make
from callerid.identity.declared import Declarations, usable
from callerid.proxy.flowfile import read_flows
from callerid.recordings import calls as recordings
from callerid.recordings.recorded import BadLine
from callerid.scopes import Scopes
from callerid.settings.checked import BadSetting, read
from callerid.settings.load import load
from callerid.settings.values import Settings
from callerid.traces.database import BadDatabase
from callerid.turn import Client, Dialect, Request
from callerid.wire import bodies, dialects, eventstream, ndjson, sse, wirejson
from callerid.wire.frames import Frames, as_event
from callerid.wire.parse import ReplyReader, may_be_call, parse_call
from test_eventstream import chunk, event, exception
from test_never_breaks import EVENTS, HELLO

EXAMPLES = int(os.environ.get("CALLERID_FUZZ_EXAMPLES", "60"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONFIGURATION = load()
DECLARATIONS = Declarations(CONFIGURATION.clients)
SCOPES = Scopes(CONFIGURATION.credentials, b"key")
PATHS = (*make.PATHS.values(), *HELLO, "/v1/realtime", "/model/m/invoke", "/v1beta/models/m:x", "/")
SEEDS = (
    *(json.dumps(body).encode() for body in HELLO.values()),
    *(make.encoded(make.body(dialect)) for dialect in make.PATHS),
    b"".join(EVENTS),
    event("messageStart", {"role": "assistant"}) + chunk({"type": "message_stop"}),
    exception("throttlingException", "slow down"),
    b'{"message":{"content":"Hi"},"done":false}\n{"done":true,"done_reason":"stop"}\n',
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}\n\ndata: [DONE]\n\n',
    b'{"type":"session.update","session":{"model":"m"}}',
    b'{"type":"response.create","response":{"input":[{"role":"user"}]}}',
    b'{"log":{"entries":[{"request":{"method":"POST","url":"http://a/v1/messages",'
    b'"headers":[],"postData":{"text":"{}"}},"startedDateTime":"2026-11-21T00:00:00Z","time":1}]}}',
    b'{"t":1,"provider":"openai-chat","request":{"messages":[]},"response":{}}\n{"t":2}\n',
    b'{"type":"api-request","sessionId":"s","timestamp":"2026-11-21T00:00:00Z","message":{}}\n',
    b"12:4:type;4:http;7:version;2:21#}",
    b"session: {max_sessions: 5, declare_from: [10.0.0.0/8]}\nrouting: {upstreams: [http://a]}\n",
    b"SQLite format 3\0" + bytes(100),
)
ODD = (
    b"\0", b"\xff", b"\r", b"\n", b"\xef\xbb\xbf", b"{" * 3000, b"[" * 3000, b"\\ud800", b"1e999",
    b"-0", b"9" * 5000, b"null", b'"', b"2026-99-99", b"&a *a", b"!!python/object:os.system",
)  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A true input with some pieces of it changed."""
    data = draw(st.sampled_from(SEEDS) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 40)))
        piece = draw(st.sampled_from(ODD) | st.binary(max_size=8) | st.just(data[at:to] * 2))
        data = data[:at] + piece + data[to:]
    return data


@FUZZ
@given(path=st.sampled_from(PATHS) | st.text(max_size=30), data=mangled())
def test_a_body_is_a_call_or_none_or_no_json(path: str, data: bytes) -> None:
    may_be_call("POST", path)
    with suppress(wirejson.NotJSON):
        call = parse_call(path, data, make.reader())
        if call is not None:
            headers = tuple((name, "a") for name in ("user-agent", "baggage", "x-session-id"))
            request = Request("POST", "https", "h", 443, path, headers, data, Client())
            DECLARATIONS.read(request, call)


@FUZZ
@given(
    dialect=st.sampled_from(Dialect),
    kind=st.sampled_from(
        ["", "text/event-stream", "application/json", "application/vnd.amazon.eventstream",
         "application/x-ndjson", "nonsense; ;"]
    ),
    status=st.sampled_from([0, 200, 429, 599]),
    chunks=st.lists(mangled(), max_size=4),
)  # fmt: skip
def test_bytes_are_a_reply_whatever_they_are(
    dialect: Dialect, kind: str, status: int, chunks: list[bytes]
) -> None:
    reader = ReplyReader(dialect, make.packed(kind), make.reader(), 1000)
    for data in chunks:
        reader.feed(data)
        reader.reply(status)
    reader.finish(status)


@FUZZ
@given(data=mangled(), dialect=st.sampled_from(Dialect))
def test_events_of_any_kind_are_taken_or_no_json(data: bytes, dialect: Dialect) -> None:
    for parser in (sse.Parser(), ndjson.Parser(), eventstream.Parser()):
        stream = dialects.reader_of(dialect).Stream()
        for each in [*parser.feed(data), *parser.close(), sse.Event("", data)]:
            with suppress(wirejson.NotJSON):
                stream.take(each)
        dialects.reader_of(dialect).read_reply(stream.body(), make.reader())


@FUZZ
@given(value=make.JSON, dialect=st.sampled_from(Dialect))
def test_any_json_is_a_reply_and_a_message(value: object, dialect: Dialect) -> None:
    dialects.reader_of(dialect).read_reply(value, make.reader())


READ: tuple[Callable[[bytes], object], ...] = (
    wirejson.decode, wirejson.members, wirejson.items, wirejson.type_of,
)  # fmt: skip


@FUZZ
@given(data=mangled(), encoding=st.sampled_from(["gzip", "br", "zstd", "deflate", "gzip, br", "x"]))
def test_json_and_packed_bodies_are_read_or_refused(data: bytes, encoding: str) -> None:
    for reads in READ:
        with suppress(wirejson.NotJSON):
            reads(data)
    for packed in (data, gzip.compress(data)[:-3]):
        with suppress(bodies.BadEncoding):
            bodies.unpack(encoding, packed)


@FUZZ
@given(frames=st.lists(mangled(), max_size=5), path=st.text(max_size=20))
def test_frames_of_a_socket_are_read_or_no_json(frames: list[bytes], path: str) -> None:
    said = Frames(path)
    for frame in frames:
        as_event(frame)
        for reads in (said.begun_by, said.ended_by):
            with suppress(wirejson.NotJSON):
                reads(frame)
        said.withdraw()


@FUZZ
@given(st.text(max_size=80), mangled())
def test_header_values_are_used_or_not(value: str, data: bytes) -> None:
    for said in (value, data.decode("utf-8", "surrogateescape")):
        assert usable(said) == "" or usable(said).isprintable()
        for name in ("authorization", "x-api-key"):
            SCOPES.of(((name, said), (name, f"Bearer {said}")), f"/v1?key={said}", said)


@FUZZ
@given(data=mangled(), suffix=st.sampled_from([".jsonl", ".har", ".flows", ".db", ".jsonl.gz"]))
def test_a_recording_is_read_or_refused_with_words(
    tmp_path: Path, data: bytes, suffix: str
) -> None:
    path = tmp_path / f"recorded{suffix}"
    path.write_bytes(gzip.compress(data)[: -len(data) % 12 or None] if ".gz" in suffix else data)
    with suppress(BadLine, BadDatabase, OSError):
        for line in recordings.read(path, read_flows):
            assert line.call is not None or line.trouble


@FUZZ
@given(data=mangled())
def test_settings_are_used_or_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(data)
    said = f"{path}: "
    try:
        read(path, Settings)
    except BadSetting as error:
        said = str(error)

    assert said.startswith(f"{path}: ")
    assert "\n" not in said


@pytest.mark.parametrize("data", [b"a: 2026-99-99", b"[" * 3000, b"? {a: b}\n: 1", b"!!binary x"])
def test_yaml_that_its_own_reader_trips_over_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "my.yaml").write_bytes(data)

    with pytest.raises(BadSetting):
        read(tmp_path / "my.yaml", Settings)
