"""What passed is on record as it was: the bytes of requests and replies, or how they differ."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sqlite_utils import Database

import make
import story
from callerid import credentials
from callerid.prices import Prices
from callerid.settings.load import load
from callerid.traces import bodies
from callerid.traces.bodies import Body
from callerid.traces.database import open_database
from callerid.traces.rows import Entry, Exactness, State
from callerid.traces.write import Writer
from callerid.turn import Because, Client, Dialect, HeaderList, Identity, Request, Timing
from callerid.wire.parse import ReplyReader, parse_call

CORPUS = Path(__file__).parents[2] / "shared" / "corpora" / "exchanges"
MOST_BYTES = 1 << 20
KEY = "sk-planted-0123456789abcdef"
DIALECTS = list(story.PATHS)
_serial = itertools.count(1)


class Record:
    """A traces.db that calls are written to, one after the other, and read from."""

    def __init__(self, path: Path) -> None:
        self.reader = make.reader()
        self._writer = Writer(path, Prices(load().prices))
        self._path = path
        self._entries: list[Entry] = []

    def take(
        self,
        path: str,
        body: bytes,
        reply: Iterable[bytes] = (b"{}",),
        content_type: str = "application/json",
        headers: HeaderList = (),
        method: str = "POST",
    ) -> str:
        """Take a call with its reply; its id, "" where it is no call to us."""
        call = parse_call(path, body, self.reader)
        if call is None:
            return ""
        client = Client("scope", "connection", "127.0.0.1", "test/1")
        request = Request(method, "https", "llm.example", 443, path, headers, b"", client)
        reading = ReplyReader(call.dialect, make.packed(content_type, ""), self.reader, MOST_BYTES)
        for chunk in reply:
            reading.feed(chunk)
        id = f"call_{next(_serial):06}"
        identity = Identity("sess_1", "agent_1", "sess_1", Because.NEW, 0.9, "an opening")
        self._entries += [
            Entry(
                id, request, call, identity, "", (), Timing(1000.0), len(body), body=body
            ),
            Entry(
                id, request, call, identity, "", (), Timing(1000.0, 1000.0, 1001.0), len(body),
                State.OK, 200, reading.finish(200),
                reply_body=None if reading.body is None else tuple(reading.body),
            ),
        ]  # fmt: skip
        return id

    @contextmanager
    def read(self) -> Iterator[Database]:
        """Write what was taken, and read."""
        assert self._writer.write(self._entries) == ""
        self._entries = []
        database = open_database(self._path)
        try:
            yield database
        finally:
            database.conn.close()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record(tmp_path / "traces.db")
    yield record
    record.close()


LAYOUTS = {
    "compact, as JavaScript writes it": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced, as Python writes it": {},
    "compact and in ASCII": {"separators": (",", ":")},
    "spaced and in UTF-8": {"ensure_ascii": False},
    "indented": {"indent": 2},
    "indented by tabs": {"indent": "\t", "ensure_ascii": False},
}


@pytest.mark.parametrize("written", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_is_on_record_byte_for_byte_however_its_json_was_laid_out(
    record: Record, dialect: Dialect, written: dict[str, Any]
) -> None:
    said = [{"user": "Wie heißt »Käse« auf Polnisch? " * 9}, {"assistant": "Ser."}, {"user": "Ah"}]
    body = make.body(dialect, said, system="You are a patient tutor.", tools=["look", "listen"])
    sent = json.dumps(body | {"user": "é"}, **written).encode()

    id = record.take(make.PATHS[dialect], sent)

    with record.read() as database:
        assert bodies.request_body(database, id) == Body(sent, Exactness.EXACT)
        assert not patched(database)


def patched(database: Database) -> list[Any]:
    """The calls whose bodies needed more than their layout."""
    return list(database.query("select id from calls where request_patch not null"))


@pytest.mark.parametrize(
    "sent",
    [
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"max_tokens":2}',
        b'{"messages":[{"role":"user","content":"Hi"}] ,"max_tokens" : 1,\n"stream":false}',
        b'{"messages":[{"role":"user","content":"Hi"},  {"role":"user","content":"Ho"}]}\r\n',
        rb'{"messages":[{"role":"user","content":"half \ud800"}],"half \udfff":1}',
        rb'{"m\u0065ssages":[{"role":"user","content":"Hi"}]}',
        b'{"messages":[],"system":"A","tools":[]}',
        b'{"messages":[{"role":"user","content":"Hi"}],"metadata":"\xff"}',
    ],
)
def test_odd_json_is_on_record_byte_for_byte(record: Record, sent: bytes) -> None:
    id = record.take("/v1/messages", sent)

    with record.read() as database:
        assert bodies.request_body(database, id) == Body(sent, Exactness.EXACT)


@st.composite
def odd_bodies(draw: st.DrawFn) -> bytes:
    """The JSON of an Anthropic call, written by a client with habits of its own."""
    space = st.sampled_from(["", "", " ", "\n", "\t  "])
    gaps = draw(st.tuples(space, space, space, space))
    is_ascii = draw(st.booleans())

    def written(value: object) -> str:
        return json.dumps(value, ensure_ascii=is_ascii, separators=(gaps[0] + ",", ":" + gaps[1]))

    texts = st.text(max_size=80) | st.sampled_from(["x" * 50, "é" * 50, "\ud800" * 3])
    messages = draw(
        st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": texts}), max_size=4)
    )
    others = draw(st.lists(st.tuples(make.WORDS, make.JSON), max_size=4))
    members = [(name, written(value)) for name, value in others if name != "messages"]
    said = f"[{(gaps[2] + ',').join(map(written, messages))}]"
    members.insert(draw(st.integers(0, len(members))), ("messages", said))
    pairs = (f"{written(name)}:{gaps[1]}{value}" for name, value in members)
    body = "{" + gaps[3] + (gaps[0] + ",").join(pairs) + "}" + gaps[3]
    return body.encode("utf-8", "surrogatepass")


@given(sent=odd_bodies())
@example(sent=b'{ "messages":[],"":{"\xed\xa0\x80":null}} ')
@example(sent=b'{"messages":[{"role":"user","content":"\xed\xa0\x80\xed\xa0\x80"}]}')
@make.THOROUGH
def test_whatever_a_client_writes_is_on_record_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, sent: bytes
) -> None:
    text = sent.decode("utf-8", "replace")
    assume(credentials.masked_json(sent) == sent and credentials.masked(text) == text)
    record = Record(tmp_path_factory.getbasetemp() / "odd.db")
    try:
        id = record.take("/v1/messages", sent)
        with record.read() as database:
            found = bodies.request_body(database, id)
    finally:
        record.close()

    assert found == Body(sent, Exactness.EXACT)


def test_recorded_exchanges_are_on_record_byte_for_byte_both_ways(record: Record) -> None:
    files = sorted(CORPUS.glob("*.jsonl.gz"))
    if not files:
        pytest.skip(f"there are no recorded exchanges: {CORPUS} is missing")
    passed: dict[str, tuple[bytes, bytes]] = {}
    for exchange, written in zip(exchanges(files), itertools.cycle(LAYOUTS.values()), strict=False):
        sent = json.dumps(exchange["request_body"], **written).encode("utf-8", "surrogatepass")
        text = exchange["response_body"]
        is_packed = exchange["response_encoding"] == "base64"
        came = base64.b64decode(text) if is_packed else text.encode()
        pieces = [came[at : at + 997] for at in range(0, len(came), 997)]
        content_type = exchange["response_headers"].get("content-type", "")
        id = record.take(exchange["path"], sent, pieces, content_type)
        if id:
            passed[id] = sent, came

    with record.read() as database:
        found = {
            id: (bodies.request_body(database, id), bodies.reply_body(database, id))
            for id in passed
        }
        patches = len(patched(database))

    wrong = [
        id
        for id, (sent, came) in passed.items()
        if found[id] != (Body(sent, Exactness.EXACT), Body(came, Exactness.EXACT))
    ]
    assert len(passed) > 3_000
    # One hands a token on to a server of tools.
    assert [id for id in wrong if b'"authorization"' not in passed[id][0]] == []
    assert [found[id][0].exactness for id in wrong] == [Exactness.REDACTED]
    assert patches < len(passed) / 100


def exchanges(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The recorded exchanges that have a request and a reply."""
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for exchange in map(json.loads, lines):
                if exchange["request_body"] is not None and exchange["response_body"]:
                    yield exchange


HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = "A long answer that is told in pieces. " * 9


def told(text: str, size: int = 9) -> bytes:
    """A text as Anthropic streams it."""
    deltas = (
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in make.pieces(text, size)
    )
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    events = [block, *deltas, {"type": "message_stop"}]
    return make.sse(*((str(event["type"]), event) for event in events))


def test_the_events_of_a_stream_are_on_record_as_they_came(record: Record) -> None:
    came = told(ANSWER)
    id = record.take("/v1/messages", make.encoded(HELLO), make.bytewise(came), "text/event-stream")

    with record.read() as database:
        assert bodies.reply_body(database, id) == Body(came, Exactness.EXACT)
        (row,) = database.query("select length(body) as size from reply_bodies")
    assert row["size"] < len(came) / 4


def test_a_whole_reply_costs_little_beside_its_message(record: Record) -> None:
    words = " ".join(f"word{at * 7919 % 1000}" for at in range(900))
    came = make.encoded({"id": "msg_1", "content": [{"type": "text", "text": words}]})
    id = record.take("/v1/messages", make.encoded(HELLO), [came])

    with record.read() as database:
        assert bodies.reply_body(database, id) == Body(came, Exactness.EXACT)
        (row,) = database.query("select length(body) as size from reply_bodies")
    assert row["size"] < 200


def test_of_a_reply_that_is_too_long_the_message_is_kept(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_exact.MOST_BYTES", 500)
    came = told(ANSWER)
    id = record.take("/v1/messages", make.encoded(HELLO), [came], "text/event-stream")

    with record.read() as database:
        assert bodies.reply_body(database, id) == Body(None, Exactness.ABSENT)
        (row,) = database.query("select reply_exactness from calls")
        assert row["reply_exactness"] == "absent"
        assert ANSWER.encode() in bodies.reply_messages_of(database, id)[0]


def test_what_is_said_in_a_websocket_is_equal_and_no_more(record: Record) -> None:
    sent = make.encoded({"model": "m", "input": [{"role": "user", "content": "Hello"}]})
    came = make.sse(("", {"type": "response.completed", "response": {"id": "resp_1"}}))
    id = record.take("/v1/responses", sent, [came], "text/event-stream", method="WEBSOCKET")

    with record.read() as database:
        assert bodies.request_body(database, id) == Body(sent, Exactness.EQUAL)
        assert bodies.reply_body(database, id) == Body(came, Exactness.EQUAL)


SECRETS = {
    "in a message": {"messages": [{"role": "user", "content": f"My key is {KEY}, is it?"}]},
    "in the system prompt": HELLO | {"system": f"Use {KEY}."},
    "in a block of the system prompt": HELLO
    | {"system": [{"type": "text", "text": "Be."}, {"type": "text", "text": KEY}]},
    "in a tool": HELLO | {"tools": [{"name": "a"}, {"name": "b", "token": "anything at all"}]},
    "in another member": HELLO | {"metadata": {"api_key": "anything at all"}},
}


@pytest.mark.parametrize("body", SECRETS.values(), ids=SECRETS)
def test_a_request_with_a_secret_is_on_record_with_a_mask_and_says_so(
    record: Record, body: dict[str, Any]
) -> None:
    headers = (("x-api-key", KEY),)
    sent = json.dumps(body, indent=1).encode()
    id = record.take("/v1/messages", sent, headers=headers)
    again = record.take("/v1/messages", sent, headers=headers)

    with record.read() as database:
        for each in (id, again):
            found = bodies.request_body(database, each)
            assert found.exactness is Exactness.REDACTED
            assert found.content is not None
            masked = sent.replace(KEY.encode(), b"***").replace(b"anything at all", b"***")
            assert json.loads(found.content) == json.loads(masked)


def test_a_secret_in_what_json_drops_is_not_kept_for_exactness(record: Record) -> None:
    sent = b'{"api_key":"hunter2-first","api_key" :"hunter2","messages":[]}'
    id = record.take("/v1/messages", sent)

    with record.read() as database:
        assert bodies.request_body(database, id).exactness is Exactness.REDACTED
        assert not patched(database)


@pytest.mark.parametrize("size", [1000, 9], ids=["in one piece", "in pieces"])
def test_a_key_that_a_stream_repeats_is_nowhere_on_record(record: Record, size: int) -> None:
    came = told(f"Your key is {KEY}.", size)
    headers = (("x-api-key", KEY),)
    body = make.encoded(HELLO)
    id = record.take("/v1/messages", body, [came], "text/event-stream", headers)

    with record.read() as database:
        found = bodies.reply_body(database, id)
        assert b"Your key is ***." in bodies.reply_messages_of(database, id)[0]
    assert found == Body(None, Exactness.ABSENT)


def test_an_error_that_quotes_a_key_is_on_record_with_a_mask(record: Record) -> None:
    other = "sk-of-somebody-else-0123456789"
    error = {"error": {"type": "authentication_error", "message": f"bad keys: {KEY}, {other}"}}
    id = record.take(
        "/v1/messages", make.encoded(HELLO), [make.encoded(error)], headers=(("x-api-key", KEY),)
    )

    with record.read() as database:
        found = bodies.reply_body(database, id)
    assert found.exactness is Exactness.REDACTED
    assert found.content is not None
    assert b"bad keys: ***, ***" in found.content


def test_each_tool_schema_is_stored_once_however_the_list_of_tools_changes(
    record: Record,
) -> None:
    tools = [{"name": f"tool_{at}", "description": f"Does {at}."} for at in range(5)]
    for count in range(1, 6):
        record.take("/v1/messages", make.encoded(HELLO | {"tools": tools[:count]}))

    with record.read() as database:
        stored = list(database.query("select body from messages where role = 'tool_schema'"))
    assert len(stored) == 5


def test_a_line_of_the_system_prompt_that_changes_costs_that_line(record: Record) -> None:
    rest = {"type": "text", "text": "You are a patient tutor. " * 40}
    for at in range(5):
        system = [{"type": "text", "text": f"turn={at}"}, rest]
        record.take("/v1/messages", make.encoded(HELLO | {"system": system}))

    with record.read() as database:
        texts = "select text from messages where role = 'system_block'"
        stored = [row["text"] for row in database.query(texts)]
        whole = [row["text"] for row in database.query("select text from prompts order by text")]
    assert sorted(stored) == sorted([f"turn={at}" for at in range(5)] + [rest["text"]])
    assert f"turn=3\n{rest['text']}" in whole


def test_words_are_readable_in_sql_and_folded_out_of_the_json(record: Record) -> None:
    words = "A question that is long enough to be folded, with \"quotes\" and 'ä'."
    record.take("/v1/messages", make.encoded({"messages": [{"role": "user", "content": words}]}))

    with record.read() as database:
        (row,) = database.query("select text, body from messages where role = 'user'")
    assert row["text"] == words
    assert row["body"] == '{"role": "user", "content": ""}'
