"""Whatever comes, and whatever fails: the call leaves whole, and so does its reply."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mitmproxy import ctx, http
from mitmproxy.test import taddons, tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from callerid.dispatch.dispatcher import Dispatcher
from callerid.identity import remember
from callerid.identity.switchboard import Switchboard
from callerid.proxy import desk as desks
from callerid.proxy import replies
from callerid.proxy.addon import CallerId
from callerid.stamp.stamper import Stamper
from callerid.traces.apart import ApartRecorder
from callerid.wire import parse

HELLO: dict[str, dict[str, Any]] = {
    "/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "You are a clerk."}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "Hello"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "9"}],
            },
        ],
    },
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are a clerk."},
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "9"},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    },
    "/v1/responses": {
        "model": "m",
        "instructions": "You are a clerk.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "9"},
        ],
        "previous_response_id": "resp_1",
    },
    "/v1beta/models/m:generateContent": {
        "systemInstruction": {"parts": [{"text": "You are a clerk."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hello"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}}}]},
        ],
    },
}
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","usage":{}}}\n\n',
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n',
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}\n\n',
    b'data: {"type":"message_stop"}\n\n',
)
PATHS = st.sampled_from(list(HELLO))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
QUIET = "admin: {enabled: false}\n"
# A port and a process for each of many examples would take their time.
ALONE = QUIET + "record: {own_process: false}\n"
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def running(addon: CallerId) -> None:
    """The hook as mitmproxy calls it: with a loop; what it begins there ends with that."""
    addon.running()


@contextmanager
def proxy(database: Path, config: str = "", settings: str = QUIET) -> Iterator[CallerId]:
    """The addon as mitmproxy runs it, without the network."""
    addon = CallerId()
    if not config:
        quiet = database.with_name("quiet.yaml")
        quiet.write_text(settings)
        config = str(quiet)
    with taddons.context(addon) as context:
        context.configure(addon, callerid_db=str(database), callerid_config=config)
        asyncio.run(running(addon))
        try:
            yield addon
        finally:
            addon.done()
            # or every context that was ever opened gets all that is logged
            context.master._legacy_log_events.uninstall()
            context.master.event_loop.close()


@pytest.fixture
def addon(tmp_path: Path) -> Iterator[CallerId]:
    with proxy(tmp_path / "traces.db") as addon:
        yield addon


def flow_of(path: str, body: bytes, headers: dict[str, str] | None = None) -> http.HTTPFlow:
    request = http.Request.make("POST", f"https://llm.example{path}", body, headers or {})
    return tflow.tflow(req=request)


def said(flow: http.HTTPFlow) -> tuple[object, ...]:
    """All of a request but the headers that are ours."""
    request = flow.request
    fields = [pair for pair in request.headers.fields if b"x-callerid" not in pair[0].lower()]
    return request.method, request.url, request.http_version, fields, request.raw_content


def stream(addon: CallerId, flow: http.HTTPFlow, chunks: list[bytes]) -> list[bytes]:
    """The chunks of a streamed reply as the client gets them."""
    response = http.Response.make(200, b"", {"content-type": "text/event-stream"})
    response.headers.pop("content-length", None)
    response.raw_content = None
    flow.response = response
    addon.responseheaders(flow)
    passed = response.stream if callable(response.stream) else lambda chunk: chunk
    arrived = [passed(chunk) for chunk in [*chunks, b""]]
    addon.response(flow)
    return [bytes(chunk) for chunk in arrived][:-1]  # type: ignore[arg-type]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# Whatever comes


@QUICK
@given(
    path=PATHS | st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=30),
    body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
    encoding=st.sampled_from(["", "gzip", "br", "zstd", "deflate", "gzip, br", "nonsense"]),
)
def test_a_request_of_any_bytes_leaves_as_it_came(
    tmp_path_factory: pytest.TempPathFactory, path: str, body: bytes, encoding: str
) -> None:
    flow = flow_of("/" + path.lstrip("/"), body, {"content-encoding": encoding, "X-Mine": "Yes"})
    before = said(flow)

    with proxy(tmp_path_factory.mktemp("db") / "traces.db", settings=ALONE) as addon:
        addon.request(flow)
        counts = addon.guard.counts

    assert said(flow) == before
    assert not any(kind.startswith("failed") for kind in counts), counts


@st.composite
def odd_bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A call of a dialect with one value, at any depth, replaced by any other."""
    path = draw(PATHS)
    body = json.loads(json.dumps(HELLO[path]))
    places = list(_places(body))
    holder, key = draw(st.sampled_from(places))
    holder[key] = draw(JSON)
    return path, json.dumps(body).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from _places(value[key])


@QUICK
@given(odd=odd_bodies())
def test_a_wrong_type_at_any_field_is_no_trouble(
    tmp_path_factory: pytest.TempPathFactory, odd: tuple[str, bytes]
) -> None:
    flow = flow_of(*odd)
    before = said(flow)

    with proxy(tmp_path_factory.mktemp("db") / "traces.db", settings=ALONE) as addon:
        addon.request(flow)
        stream(addon, flow, list(EVENTS))
        counts = addon.guard.counts

    assert said(flow) == before
    assert not any(kind.startswith("failed") for kind in counts), counts


@QUICK
@given(path=PATHS, chunks=st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from(EVENTS)))
def test_a_reply_of_any_bytes_arrives_chunk_by_chunk(
    tmp_path_factory: pytest.TempPathFactory, path: str, chunks: list[bytes]
) -> None:
    flow = flow_of(path, json.dumps(HELLO[path]).encode())

    with proxy(tmp_path_factory.mktemp("db") / "traces.db", settings=ALONE) as addon:
        addon.request(flow)
        arrived = stream(addon, flow, chunks)
        counts = addon.guard.counts

    assert arrived == chunks
    assert not any(kind.startswith("failed") for kind in counts), counts


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ud800 alone", id="lone surrogate"),
        pytest.param("x" * 50_000_000, id="50 MB"),
        pytest.param("\x00\x01\x02", id="control characters"),
        pytest.param("", id="nothing"),
    ],
)
def test_strange_words_are_identified_and_pass(addon: CallerId, content: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    flow = flow_of("/v1/chat/completions", json.dumps(body).encode())
    before = said(flow)

    addon.request(flow)
    stream(addon, flow, [b"data: [DONE]\n\n"])

    assert said(flow) == before
    assert not addon.guard.counts
    assert flow.request.headers["x-callerid-session-id"].startswith("sess_")
    assert not addon.guard.counts


@pytest.mark.parametrize("depth", [100, 5_000, 200_000])
def test_deep_nesting_passes(addon: CallerId, depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"metadata":' + deep + b"}"
    inside = b'{"model":"m","messages":[{"role":"user","content":[' + deep + b"]}]}"

    for sent in (body, inside, b'{"model":"m","messages":' + deep + b"}"):
        flow = flow_of("/v1/messages", sent)
        before = said(flow)
        addon.request(flow)
        assert said(flow) == before

    assert not any(kind.startswith("failed") for kind in addon.guard.counts), addon.guard.counts


def test_a_truncated_stream_passes_and_is_known_for_what_it_is(addon: CallerId) -> None:
    flow = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode())
    chunks = [*EVENTS[:3], b'data: {"type":"content_blo']

    addon.request(flow)
    arrived = stream(addon, flow, chunks)

    assert arrived == chunks
    assert not any(kind.startswith("failed") for kind in addon.guard.counts)


def test_what_the_edge_has_not_seen_begin_it_lets_end(addon: CallerId) -> None:
    flow = flow_of("/v1/messages", b"{}")

    assert stream(addon, flow, [b"data: 1\n\n"]) == [b"data: 1\n\n"]
    addon.error(flow)

    assert not addon.guard.counts


# Whatever fails


SECRET = "sk-planted-in-an-exception"


class PlantedError(Exception):
    """An error of ours, as a bug would raise it."""


def fail(*_: object, **__: object) -> NoReturn:
    raise PlantedError(SECRET)


STAGES: dict[str, tuple[str, Any, str]] = {
    "parsing": ("request", parse, "parse_call"),
    "identification": ("request", Switchboard, "identify"),
    "stripping": ("strip", Stamper, "strips"),
    "stamping": ("stamp", Stamper, "sets"),
    "asking for the budget": ("budget", Dispatcher, "afford"),
    "returning ids": ("reply", replies, "returned"),
    "making a reader": ("reply", Switchboard, "reply_reader"),
    "reading a reply": ("reply", parse.ReplyReader, "feed"),
    "finishing a reply": ("reply", parse.ReplyReader, "finish"),
    "remembering": ("remember", remember, "reply"),
    "recording": ("record", ApartRecorder, "put"),
    "giving a place back": ("route", Dispatcher, "ended"),
    "adding up": ("budget", Dispatcher, "used"),
    "describing": ("request", desks, "OpenCall"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_bug_in_any_stage_costs_its_own_result_only(
    addon: CallerId,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    name, holder, attribute = STAGES[stage]
    monkeypatch.setattr(holder, attribute, fail)
    body = json.dumps(HELLO["/v1/messages"]).encode()

    for _ in range(2):
        flow = flow_of("/v1/messages", body)
        before = said(flow)
        addon.request(flow)
        arrived = stream(addon, flow, list(EVENTS))
        assert said(flow) == before
        assert arrived == list(EVENTS)

    failures = {kind: n for kind, n in addon.guard.counts.items() if kind.startswith("failed")}
    assert set(failures) == {f"failed.{name}"}
    assert len(warnings(caplog)) == 1
    assert SECRET not in caplog.text


def test_after_a_bug_the_next_call_is_identified(
    addon: CallerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(HELLO["/v1/messages"]).encode()
    with monkeypatch.context() as broken:
        broken.setattr(Switchboard, "identify", fail)
        addon.request(flow_of("/v1/messages", body))

    flow = flow_of("/v1/messages", body)
    addon.request(flow)

    assert flow.request.headers["x-callerid-session-id"]


def test_what_we_stamped_is_not_what_the_client_said_when_a_call_is_replayed(
    addon: CallerId,
) -> None:
    flow = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode())
    addon.request(flow)
    stream(addon, flow, list(EVENTS))

    again = flow.copy()
    again.is_replay = "request"
    again.response = None
    again.live = True
    addon.request(again)

    assert "· new 0." in again.comment
    assert again.request.headers["x-callerid-session-id"] in again.comment
    assert again.request.headers["x-callerid-session-id"] not in flow.comment


# What must not leave


INTERNAL = {"x-callerid-session-id": "inside-1", "x-dynamo-session-id": "inside-2"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("POST", "/v1/files"), ("POST", "/v1/messages")],
)
def test_internal_headers_are_taken_away_whatever_is_asked_of_a_public_provider(
    addon: CallerId, method: str, path: str
) -> None:
    request = http.Request.make(method, f"https://api.openai.com{path}", b"", INTERNAL)
    flow = tflow.tflow(req=request)

    addon.requestheaders(flow)

    assert not set(flow.request.headers) & set(INTERNAL)
    assert not addon.guard.counts


def test_what_is_taken_away_is_still_what_the_client_said(addon: CallerId) -> None:
    flow = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode(), INTERNAL)
    flow.request.host = "160.79.104.10"  # as in transparent mode
    flow.request.headers["host"] = "api.anthropic.com"

    addon.requestheaders(flow)
    addon.request(flow)

    assert "· inside-1 · header" in flow.comment
    assert not any(name.startswith("x-callerid") for name in flow.request.headers)


# What is left behind


def test_a_reply_that_is_over_holds_nothing_of_ours(addon: CallerId) -> None:
    flow = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode())
    broken_off = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode())

    addon.request(flow)
    stream(addon, flow, list(EVENTS))
    addon.request(broken_off)
    broken_off.response = http.Response.make(200, b"", {"content-type": "text/event-stream"})
    addon.responseheaders(broken_off)
    addon.error(broken_off)

    assert flow.response is not None
    assert flow.response.stream is True
    assert broken_off.response.stream is True


@pytest.mark.parametrize("saved", [False, True])
def test_of_an_open_socket_the_newest_frames_are_kept(tmp_path: Path, saved: bool) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("stream: {viewable_bytes: 1000}")
    flow = tflow.twebsocketflow()
    flow.request.path = "/v1/responses"
    assert flow.websocket is not None
    flow.websocket.messages.clear()
    frame = b'{"type":"response.output_text.delta","delta":"a"}'

    with proxy(tmp_path / "traces.db", str(config)) as addon:
        if saved:
            ctx.options.add_option("save_stream_file", str, "flows", "mitmdump -w FILE")
        addon.websocket_start(flow)
        for _ in range(100):
            flow.websocket.messages.append(WebSocketMessage(Opcode.TEXT, False, frame))
            addon.websocket_message(flow)
            assert flow.websocket.messages[-1].content == frame
        counts = addon.guard.counts

    kept = sum(len(message.content) for message in flow.websocket.messages)
    assert not counts
    assert kept == 100 * len(frame) if saved else 0 < kept <= 1000


def test_a_call_that_is_under_way_at_the_end_has_the_status_that_came(tmp_path: Path) -> None:
    flow = flow_of("/v1/messages", json.dumps(HELLO["/v1/messages"]).encode())

    with proxy(tmp_path / "traces.db") as addon:
        addon.request(flow)
        flow.response = http.Response.make(503, b"", {"content-type": "text/event-stream"})
        addon.responseheaders(flow)

    database = sqlite3.connect(tmp_path / "traces.db")
    rows = database.execute("select state, status from calls").fetchall()
    database.close()
    assert rows == [("interrupted", 503)]


# What is written where it is asked for


def test_a_body_gets_only_the_member_that_its_profile_names(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("stamp: {upstreams: [{hosts: [llm.example], profile: openai}]}")
    body = json.dumps(HELLO["/v1/chat/completions"], indent=1).encode()
    flow = flow_of("/v1/chat/completions", body)
    signature = "AWS4-HMAC-SHA256 Credential=A/d/r/s/aws4_request, SignedHeaders=host, Signature=f"
    signed = flow_of("/v1/chat/completions", body, {"authorization": signature})

    with proxy(tmp_path / "traces.db", str(config)) as addon:
        addon.request(flow)
        addon.request(signed)

    session = json.loads(flow.request.raw_content or b"")["prompt_cache_key"]
    assert (
        flow.request.raw_content == b'{"prompt_cache_key":"' + session.encode() + b'",' + body[1:]
    )
    assert flow.request.headers["content-length"] == str(len(flow.request.raw_content))
    assert f"· {session} ·" in flow.comment
    assert signed.request.raw_content == body


def test_tokens_that_only_the_headers_of_a_reply_count_are_recorded(tmp_path: Path) -> None:
    flow = flow_of("/model/amazon.titan/invoke", b'{"inputText": "Hello"}')
    counted = {
        "x-amzn-bedrock-input-token-count": "11",
        "x-amzn-bedrock-output-token-count": "12",
        "content-type": "application/json",
    }

    with proxy(tmp_path / "traces.db") as addon:
        addon.request(flow)
        flow.response = http.Response.make(200, b'{"odd": "body"}', counted)
        addon.responseheaders(flow)
        addon.response(flow)

    database = sqlite3.connect(tmp_path / "traces.db")
    counts = database.execute("select input_tokens, output_tokens from calls").fetchall()
    database.close()
    assert counts == [(11, 12)]
