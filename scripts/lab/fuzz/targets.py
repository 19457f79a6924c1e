"""What is fuzzed: each target takes any bytes, and raises where callerid does what it must not.

The first bytes of an input choose (which path, which dialect, how it is cut), the rest is read. A
target holds two ways of reading against each other wherever there are two.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from callerid import credentials
from callerid.identity.declared import Declarations, usable
from callerid.proxy.flowfile import read_flows
from callerid.recordings import calls
from callerid.recordings.recorded import BadLine
from callerid.scopes import Scopes
from callerid.settings import tables
from callerid.settings.checked import BadSetting, read
from callerid.settings.load import load
from callerid.settings.values import Settings
from callerid.sharing import resp
from callerid.traces.database import BadDatabase
from callerid.turn import Client, Dialect, Reply, Request
from callerid.wire import (
    bodies,
    canonical,
    dialects,
    eventstream,
    growing,
    ndjson,
    sse,
    wirejson,
)
from callerid.wire.frames import Frames, as_event
from callerid.wire.messages import MessageReader
from callerid.wire.parse import ReplyReader, may_be_call, parse_call

PATHS = (
    "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions", "/v1/responses",
    "/v1/responses/compact", "/v1beta/models/m:generateContent", "/v1internal:generateContent",
    "/model/m/converse", "/model/m/converse-stream", "/model/m/invoke", "/v2/chat", "/v1/chat",
    "/api/chat", "/api/generate", "/v1/completions", "/v1/embeddings", "/v1/realtime", "/",
)  # fmt: skip
DIALECTS = tuple(Dialect)
TYPES = (
    "", "text/event-stream", "application/json", "application/vnd.amazon.eventstream",
    "application/x-ndjson", "nonsense; ;",
)  # fmt: skip
ENCODINGS = ("gzip", "br", "zstd", "deflate", "gzip, br", "x", "")
SUFFIXES = (".jsonl", ".har", ".flows", ".db", ".jsonl.gz", ".jsonl.xz")
SHAPES = (
    Settings, tables.ClientTable, tables.ProviderTable, tables.ProfileTable,
    tables.CredentialTable, tables.SecretTable, tables.PriceTable, tables.EnvironmentTable,
)  # fmt: skip
BETWEEN = b"\xff\xff"  # between several bodies or frames in one input: no JSON holds it
_CONFIGURATION = load()
_INJECTED = canonical.injected_pattern(row.tag for row in _CONFIGURATION.clients.injected_blocks)
_DECLARATIONS = Declarations(_CONFIGURATION.clients)
_SCOPES = Scopes(_CONFIGURATION.credentials, b"key")
_FOLDER = Path(tempfile.mkdtemp(prefix="callerid-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, True)


def choice(among: tuple[Any, ...], what: Any) -> bytes:
    """The byte that chooses something."""
    return bytes([among.index(what)])


def _chosen(among: tuple[Any, ...], byte: int) -> Any:
    return among[byte % len(among)]


def _pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size)) if size else [data]


def request(data: bytes) -> None:
    """A request, by a reader that has read much and by one that has read nothing."""
    path, body = _chosen(PATHS, data[0]), data[1:]
    may_be_call("POST", path)
    with suppress(wirejson.NotJSON):
        call = parse_call(path, body, _READER)
        assert call == parse_call(path, body, MessageReader(_INJECTED))
        if call is not None:
            headers = tuple((name, "a") for name in ("user-agent", "baggage", "x-session-id"))
            asked = Request("POST", "https", "h", 443, path, headers, body, Client())
            _DECLARATIONS.read(asked, call)


_READER = MessageReader(_INJECTED)


def reply(data: bytes) -> None:
    """A reply as it comes: whole, and in pieces; what was kept is what came."""
    dialect, kind = _chosen(DIALECTS, data[0]), _chosen(TYPES, data[1])
    status = (200, 429, 0, 599)[data[2] % 4]
    said = [("content-type", kind)]

    def read_in(size: int) -> tuple[Reply, bytes] | None:
        reader = ReplyReader(dialect, tuple(said), MessageReader(_INJECTED), 1 << 20)
        try:
            for piece in _pieces(data[4:], size):
                reader.feed(piece)
                reader.reply(status)
        except ValueError:  # an event without an end
            return None
        return reader.finish(status), b"".join(reader.body or ())

    whole, cut = read_in(0), read_in(data[3])
    for one in (whole, cut):
        assert one is None or one[1] == data[4:]


def events(data: bytes) -> None:
    """Server-sent events, AWS events and lines: the same in pieces; and taken by a dialect."""
    dialect, size = _chosen(DIALECTS, data[0]), data[1]
    for parser in (sse.Parser, ndjson.Parser, eventstream.Parser):
        try:
            whole, cut = parser(), parser()
            found = [*whole.feed(data[2:]), *whole.close()]
            again = [event for piece in _pieces(data[2:], size) for event in cut.feed(piece)]
            assert [*again, *cut.close()] == found
        except ValueError:  # an event without an end
            continue
        stream = dialects.reader_of(dialect).Stream()
        for event in found:
            with suppress(wirejson.NotJSON):
                stream.take(event)
        dialects.reader_of(dialect).read_reply(stream.body(), MessageReader(_INJECTED))


def json(data: bytes) -> None:
    """JSON, split and whole: a member is what the whole has there."""
    for reads in (wirejson.type_of, wirejson.items):
        with suppress(wirejson.NotJSON):
            reads(data)
    with suppress(wirejson.NotJSON):
        members = wirejson.members(data)
        whole = wirejson.mapping(wirejson.decode(data))
        assert members.keys() == whole.keys()
        assert all(repr(wirejson.decode(raw)) == repr(whole[n]) for n, raw in members.items())
    credentials.masked_json(data)


def grown(data: bytes) -> None:
    """Bodies that may grow out of one another: split as if there were none before."""
    least, growing.LEAST_BYTES = growing.LEAST_BYTES, 0
    try:
        known = growing.Bodies()
        for body in data.split(BETWEEN):
            with suppress(wirejson.NotJSON):
                _is_split_alike(body, known)
    finally:
        growing.LEAST_BYTES = least


def _is_split_alike(body: bytes, known: growing.Bodies) -> None:
    plain = wirejson.members(body)
    members = known.members(body)
    assert _values(members) == _values(plain)
    array = getattr(members, "array", "")
    if array:  # half a character is written anew where nothing was known before
        items = growing.items(members, array)
        assert _decoded(items) == _decoded(wirejson.items(plain[array]))


def _values(members: Mapping[str, bytes]) -> dict[str, str]:
    return dict(zip(members, _decoded(members.values()), strict=True))


def _decoded(raws: Iterable[bytes]) -> list[str]:
    return [repr(wirejson.decode(raw)) for raw in raws]


def packed(data: bytes) -> None:
    """A packed body, at once and in pieces: the same comes out, if brotli's end is there."""
    encoding, size = _chosen(ENCODINGS, data[0]), data[1]
    with suppress(bodies.BadEncoding):
        whole = bodies.unpack(encoding, data[2:])
        unpacker = bodies.unpacker(encoding)
        cut = b"".join(map(unpacker.feed, _pieces(data[2:], size)))
        assert cut == whole or ("br" in encoding and whole.startswith(cut))


def frames(data: bytes) -> None:
    """The frames of a WebSocket."""
    said = Frames(_chosen(PATHS, data[0]))
    for frame in data[1:].split(BETWEEN):
        as_event(frame)
        for reads in (said.begun_by, said.ended_by):
            with suppress(wirejson.NotJSON):
                reads(frame)
        said.withdraw()


def headers(data: bytes) -> None:
    """The value of a header, and a path: no secret of it is shown."""
    said = data.decode("utf-8", "surrogateescape")
    assert usable(said) == "" or usable(said).isprintable()
    for name in ("authorization", "x-api-key", "cookie"):
        pairs = ((name, said), (name, f"Bearer {said}"))
        _SCOPES.of(pairs, f"/v1?key={said}", said)
        credentials.masked_headers(pairs)
        hidden = credentials.secrets_in(pairs, f"/v1?key={said}")
        credentials.without(data, hidden)
    credentials.masked_path(said)
    credentials.masked_user_agent(said)
    credentials.masked(said)


def recording(data: bytes) -> None:
    """A file to be imported: read, or refused with words."""
    path = _FOLDER / f"recorded{_chosen(SUFFIXES, data[0])}"
    path.write_bytes(data[1:])
    with suppress(BadLine, BadDatabase, OSError):
        for line in calls.read(path, read_flows):
            assert line.call is not None or line.trouble


def settings(data: bytes) -> None:
    """A file of settings, or a table: used, or refused in one line that names it."""
    path = _FOLDER / "my.yaml"
    path.write_bytes(data[1:])
    said = f"{path}: "
    try:
        read(path, _chosen(SHAPES, data[0]))
    except BadSetting as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


class _Wire(asyncio.Transport):
    is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def redis(data: bytes) -> None:
    """Replies of a Redis, whole and in pieces: read the same, or the connection is given up."""
    size = data[0]

    def read_in(size: int) -> list[str]:
        connection, wire = resp.Connection(), _Wire()
        connection.connection_made(wire)
        said: list[str] = []
        connection._answer = lambda value: said.append(repr(value))  # type: ignore[method-assign]
        for piece in _pieces(data[1:], size):
            if not wire.is_cut:
                connection.data_received(piece)
        return said

    assert read_in(size) == read_in(0)


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        request, reply, events, json, grown, packed, frames, headers, recording, settings, redis,
    )
}  # fmt: skip
LEAST = {"request": 1, "reply": 4, "events": 2, "packed": 2, "frames": 1, "recording": 1,
         "settings": 1, "redis": 1}  # fmt: skip


def run(name: str, data: bytes) -> None:
    """Give a target some bytes; those that are too few to choose by are none."""
    if len(data) >= LEAST.get(name, 0):
        TARGETS[name](data)
