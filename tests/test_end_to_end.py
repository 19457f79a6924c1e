"""The whole way: the vendors' SDKs, a real mitmdump with the addon, a provider, traces.db."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
import zstandard
from mitmproxy import http
from mitmproxy.io import FlowReader
from sqlite_utils import Database

from callerid.traces import bodies
from callerid.traces.rows import Exactness
from lab import Answer, Asked, FakeProvider, Proxy, ToolCall, Usage, newest_text, tool_results
from lab.chats import CHATS, Chat, Line
from lab.wires import wire_of

DIALECTS = tuple(CHATS)
STREAMS = (False, True)
LOOK = ToolCall("look", {"task": "the tide table"})
SYSTEM = "You are a tide clerk."
USAGE = Usage()
DEADLINE_SECONDS = 10.0
ANSWERS = "select text from messages where text like 'Answer%'"
MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


def clerk(asked: Asked) -> Answer:
    """Looks things up, repeats what it was told, fails on request; never answers twice alike."""
    if results := tool_results(asked):
        return Answer(f"No {asked.serial}: the table says {results[0]}.")
    text = newest_text(asked)
    if text.startswith("fail "):
        return Answer("Overloaded", status=int(text.removeprefix("fail ")))
    if "tide" in text:
        return Answer(f"Let me look, says {asked.serial}.", (LOOK,))
    return Answer(f"Answer {asked.serial} to: {text}")


@dataclass
class Talk:
    """A conversation as it was held."""

    dialect: str
    streams: bool
    is_public: bool
    chat: Chat
    texts: list[str] = field(default_factory=list)

    @property
    def sessions(self) -> set[str]:
        return {heard["x-callerid-session-id"] for heard in self.chat.heard}


@dataclass
class Day:
    """All conversations of one proxy, all of them at once, and what was left afterwards."""

    talks: list[Talk]
    asked: list[Asked]
    traces: Database
    log: str

    def rows(self, talk: Talk) -> list[dict[str, Any]]:
        (id,) = talk.sessions
        query = "select * from calls where session_id = ? order by started_at"
        return list(self.traces.query(query, [id]))

    def requests(self, talk: Talk) -> list[Asked]:
        ids = [heard["x-request-id"] for heard in talk.chat.heard]
        return [asked for asked in self.asked if f"req_{asked.serial:024}" in ids]


def hold(talk: Talk) -> Talk:
    """Three calls, with a tool between."""
    first = talk.chat.ask("When is high tide?")
    second = talk.chat.give(first.wishes, ["half past nine"])
    third = talk.chat.ask("Thank you")
    talk.texts += [said.text for said in (first, second, third)]
    return talk


@pytest.fixture(scope="module")
def day(addon_script: Path) -> Iterator[Day]:
    with FakeProvider(clerk) as provider, Proxy(addon_script, provider=provider) as proxy:
        talks = []
        for is_public in (False, True):
            line = Line(proxy.ca_file, proxy.url, "" if is_public else provider.url)
            for dialect, chat in CHATS.items():
                for streams in STREAMS:
                    held = chat(line, SYSTEM, ("look",), streams=streams)
                    talks.append(Talk(dialect, streams, is_public, held))
        with ThreadPoolExecutor(len(talks)) as pool:
            talks = list(pool.map(hold, talks))
        for talk in talks:
            talk.chat.close()
        assert proxy.stop() == 0
        with closing(Database(proxy.traces)) as traces:
            yield Day(talks, provider.asked, traces, proxy.log)


@pytest.fixture(
    params=range(len(DIALECTS) * 4),
    ids=[f"{host}-{dialect}-{how}" for host in ("private", "public") for dialect in DIALECTS
         for how in ("whole", "streamed")],
)  # fmt: skip
def talk(request: pytest.FixtureRequest, day: Day) -> Talk:
    return day.talks[request.param]


def test_the_client_gets_the_text_that_the_provider_sent(day: Day, talk: Talk) -> None:
    first, second, third = day.requests(talk)

    assert talk.texts == [
        f"Let me look, says {first.serial}.",
        f"No {second.serial}: the table says half past nine.",
        f"Answer {third.serial} to: Thank you",
    ]


def test_a_conversation_is_one_session_and_its_own(day: Day, talk: Talk) -> None:
    others = {id for other in day.talks if other is not talk for id in other.sessions}

    assert len(talk.sessions) == 1
    assert not talk.sessions & others


def test_every_request_and_reply_is_on_record_byte_for_byte(day: Day, talk: Talk) -> None:
    wire = wire_of(day.requests(talk)[0].path)
    assert wire is not None

    for row, asked in zip(day.rows(talk), day.requests(talk), strict=True):
        answer = clerk(asked)
        came = (
            b"".join(wire.events(asked, answer))
            if talk.streams
            else json.dumps(wire.whole(asked, answer)).encode()
        )
        assert bodies.request_body(day.traces, row["id"]) == (asked.body, Exactness.EXACT)
        assert bodies.reply_body(day.traces, row["id"]) == (came, Exactness.EXACT)


def test_every_call_is_on_record_with_its_outcome(day: Day, talk: Talk) -> None:
    rows = day.rows(talk)

    assert [row["state"] for row in rows] == ["ok"] * 3
    assert [row["status"] for row in rows] == [200] * 3
    assert {row["dialect"] for row in rows} == {talk.dialect}
    assert {bool(row["is_stream"]) for row in rows} == {talk.streams}
    assert {row["kind"] for row in rows} == {"main"}
    assert all(row["started_at"] <= row["first_byte_at"] <= row["ended_at"] for row in rows)
    assert all(row["evidence"] and row["confidence"] > 0.7 for row in rows)
    assert rows[0]["because"] == "new"
    assert {row["because"] for row in rows[1:]} <= {"history", "response_id"}


def test_the_reply_is_on_record_as_it_was_said(day: Day, talk: Talk) -> None:
    replies = (
        "select text from messages join call_messages on message_id = messages.id"
        " where is_reply = 1 and call_id = ? and text != ''"
    )

    rows = [row for call in day.rows(talk) for row in day.traces.query(replies, [call["id"]])]
    said = [row["text"].partition("[look ")[0].strip() for row in rows]

    assert [text for text in said if text] == talk.texts
    assert any('[look {"task":"the tide table"}]' in row["text"] for row in rows)


def test_usage_is_on_record_as_the_provider_counts(day: Day, talk: Talk) -> None:
    uncached = USAGE.input - USAGE.cache_read - USAGE.cache_write
    expected_input = uncached if talk.dialect == "anthropic" else USAGE.input

    for row in day.rows(talk):
        assert row["input_tokens"] == expected_input
        assert row["cache_read_input_tokens"] == USAGE.cache_read
        assert row["output_tokens"] in (USAGE.output, USAGE.output - USAGE.reasoning)
        assert json.loads(row["usage"])


def test_private_hosts_are_stamped_and_public_ones_are_not(day: Day, talk: Talk) -> None:
    (session,) = talk.sessions

    for asked, heard in zip(day.requests(talk), talk.chat.heard, strict=True):
        stamped = {name: value for name, value in asked.headers if "callerid" in name}
        if talk.is_public:
            assert stamped == {}
        else:
            assert stamped == {
                "x-callerid-session-id": session,
                "x-callerid-agent-id": heard["x-callerid-agent-id"],
            }


def test_agents_with_one_prompt_and_one_tool_are_one_agent(day: Day) -> None:
    agents = list(day.traces.query("select * from agents"))

    assert [agent["name"] for agent in agents] == ["tide-clerk"]


def test_a_day_without_trouble_leaves_no_warning(day: Day) -> None:
    assert "callerid: identifying LLM calls" in day.log
    assert "this is said once" not in day.log


# One thing at a time


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(clerk) as provider:
        yield provider


@pytest.fixture
def proxy(addon_script: Path, provider: FakeProvider) -> Iterator[Proxy]:
    with Proxy(addon_script, provider=provider) as proxy:
        yield proxy


def client_of(proxy: Proxy) -> httpx.Client:
    verify = ssl.create_default_context(cafile=proxy.ca_file)
    return httpx.Client(verify=verify, proxy=proxy.url, trust_env=False, timeout=DEADLINE_SECONDS)


def calls_after(proxy: Proxy, by: signal.Signals = signal.SIGTERM) -> list[dict[str, Any]]:
    """The calls on record once the proxy has ended."""
    proxy.stop(by)
    return on_record(proxy.traces, "select * from calls order by started_at")


def on_record(path: Path, query: str) -> list[dict[str, Any]]:
    with closing(Database(path)) as database:
        return list(database.query(query))


def test_in_reverse_mode_the_clients_need_only_a_base_url_and_their_headers(
    addon_script: Path, provider: FakeProvider
) -> None:
    headers = {"x-cylestio-session-id": "user-session-42", "x-cylestio-agent-id": "math-tutor"}

    with Proxy(addon_script, mode=f"reverse:{provider.url}") as proxy:
        line = Line(provider.ca_file, None, f"http://localhost:{proxy.port}", headers)
        chat = CHATS["openai_chat"](line, "", (), streams=False)
        said = [chat.ask("Hello").text, chat.ask("Goodbye").text]
        chat.close()
        rows = calls_after(proxy)

    assert [text.partition(" to: ")[2] for text in said] == ["Hello", "Goodbye"]
    assert [(row["session_id"], row["agent_id"]) for row in rows] == [
        ("user-session-42", "math-tutor")
    ] * 2
    assert [heard["x-callerid-session-id"] for heard in chat.heard] == ["user-session-42"] * 2


def test_identity_headers_stop_before_public_providers(
    proxy: Proxy, provider: FakeProvider
) -> None:
    inside = {"x-callerid-session-id": "a", "x-cylestio-agent-id": "b", "x-dynamo-session-id": "c"}
    inside |= {"x-cagent-session-id": "d"}

    with client_of(proxy) as client:
        url = "https://api.anthropic.com/v1/messages"
        client.post(url, json=MESSAGES, headers=inside | {"x-mine": "kept"})

    arrived = dict(provider.asked[-1].headers)
    assert arrived["x-mine"] == "kept"
    assert not set(inside) & set(arrived)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("streams", STREAMS, ids=["whole", "streamed"])
def test_packed_replies_are_read_and_pass_as_they_are(
    addon_script: Path, encoding: str, streams: bool
) -> None:
    with (
        FakeProvider(clerk, encoding=encoding) as packing,
        Proxy(addon_script) as proxy,
        client_of(proxy) as client,
    ):
        headers = {"accept-encoding": encoding}
        url = f"{packing.url}/v1/messages"
        answer = client.post(url, json=MESSAGES | {"stream": streams}, headers=headers)
        rows = calls_after(proxy)
        (text,) = on_record(proxy.traces, ANSWERS)

    assert answer.headers["content-encoding"] == encoding
    assert text["text"] == "Answer 1 to: Hello"
    assert rows[0]["state"] == "ok"


def test_a_request_packed_with_zstd_is_identified_and_passes_as_it_is(
    proxy: Proxy, provider: FakeProvider
) -> None:
    packed = zstandard.compress(json.dumps(MESSAGES).encode())

    with client_of(proxy) as client:
        headers = {"content-encoding": "zstd", "content-type": "application/json"}
        client.post(f"{provider.url}/v1/messages", content=packed, headers=headers)
    (row,) = calls_after(proxy)

    assert provider.asked[-1].body == packed
    assert row["session_id"]


def test_what_is_no_call_passes_untouched_and_unrecorded(
    proxy: Proxy, provider: FakeProvider
) -> None:
    others = [
        ("GET", "/v1/models", b""),
        ("POST", "/v1/messages/batches", b'{"requests": []}'),
        ("POST", "/v1/messages", b"not json"),
        ("POST", "/v1/messages", b'{"hello": "world"}'),
        ("POST", "/upload", bytes(range(256))),
    ]

    with client_of(proxy) as client:
        for method, path, body in others:
            client.request(method, provider.url + path, content=body, headers={"x-mine": "yes"})
    rows = calls_after(proxy)

    arrived = provider.asked[-len(others) :]
    assert [(asked.method, asked.path, asked.body) for asked in arrived] == others
    assert not any("callerid" in name for asked in arrived for name, _ in asked.headers)
    assert rows == []


def test_an_error_of_the_provider_is_recorded_as_what_it_is(
    proxy: Proxy, provider: FakeProvider
) -> None:
    line = Line(proxy.ca_file, proxy.url, provider.url)
    chat = CHATS["anthropic"](line, "", (), streams=True)

    with pytest.raises(anthropic.APIStatusError):
        chat.ask("fail 529")
    chat.close()
    (row,) = calls_after(proxy)

    assert (row["state"], row["status"]) == ("error", 529)
    assert (row["error_type"], row["error_message"]) == ("overloaded_error", "Overloaded")


def test_a_client_that_leaves_is_recorded_as_having_left(addon_script: Path) -> None:
    async def hold_back(asked: Asked, index: int) -> None:
        if index == 3:
            await asyncio.to_thread(left.wait, DEADLINE_SECONDS)

    left = threading.Event()
    with FakeProvider(clerk, before_chunk=hold_back) as provider, Proxy(addon_script) as proxy:
        with (
            client_of(proxy) as client,
            client.stream(
                "POST", f"{provider.url}/v1/messages", json=MESSAGES | {"stream": True}
            ) as a,
        ):
            next(a.iter_bytes())
        proxy.wait_for("client disconnect")
        left.set()
        (row,) = calls_after(proxy)

    assert (row["state"], row["status"]) == ("aborted", 200)
    assert row["first_byte_at"]


def test_a_provider_that_is_not_there_is_recorded_as_unreachable(addon_script: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with Proxy(addon_script) as proxy, client_of(proxy) as client:
        answer = client.post(f"http://127.0.0.1:{port}/v1/messages", json=MESSAGES)
        (row,) = calls_after(proxy)

    assert answer.status_code == 502
    assert (row["state"], row["status"]) == ("unreachable", None)
    assert "refused" in row["error_message"].lower() or "connect" in row["error_message"].lower()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_writes_what_is_queued_and_says_what_was_under_way(
    addon_script: Path, tmp_path: Path, by: signal.Signals
) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text("record: {flush_seconds: 3600}")
    reached = threading.Event()

    async def stay(asked: Asked, index: int) -> None:
        if "stay" in asked.body.decode() and index == 2:
            reached.set()
            await asyncio.Event().wait()

    with (
        FakeProvider(clerk, before_chunk=stay) as provider,
        Proxy(addon_script, options={"callerid_config": str(slow)}) as proxy,
        client_of(proxy) as client,
    ):
        url = f"{provider.url}/v1/messages"
        for _ in range(20):
            client.post(url, json=MESSAGES)
        staying = {**MESSAGES, "stream": True, "messages": [{"role": "user", "content": "stay"}]}
        with client.stream("POST", url, json=staying):
            assert reached.wait(DEADLINE_SECONDS)
            rows = calls_after(proxy, by)

    assert [row["state"] for row in rows] == ["ok"] * 20 + ["interrupted"]


def test_sessions_survive_a_restart_of_the_proxy(
    addon_script: Path, provider: FakeProvider, tmp_path: Path
) -> None:
    options: dict[str, str | list[str]] = {"callerid_db": str(tmp_path / "traces.db")}
    sessions = []
    messages: list[Any] = []

    for question in ("Hello again", "And now?", "And then?"):
        messages.append({"role": "user", "content": question})
        with Proxy(addon_script, options=options) as proxy, client_of(proxy) as client:
            body = MESSAGES | {"messages": messages}
            answer = client.post(f"{provider.url}/v1/messages", json=body)
        sessions.append(answer.headers["x-callerid-session-id"])
        messages.append({"role": "assistant", "content": answer.json()["content"]})

    assert len(set(sessions)) == 1
    rows = on_record(tmp_path / "traces.db", "select because from calls")
    assert [row["because"] for row in rows] == ["new", "history", "history"]


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("my.yaml", "session: {fuzzy_threshold: 1.4}",
         "session.fuzzy_threshold = 1.4, but it is a share between 0 and 1 (default 0.8)"),
        ("my.yaml", "session: {fuzy: 1}", "session.fuzy is not a setting; there are enabled"),
        ("my.yaml", "session: [", "my.yaml: is not YAML"),
        ("missing.yaml", None, "missing.yaml: there is no such file"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_mitmproxy_with_one_line(
    addon_script: Path, tmp_path: Path, name: str, settings: str | None, complaint: str
) -> None:
    if settings is not None:
        (tmp_path / name).write_text(settings)
    options: dict[str, str | list[str]] = {"callerid_config": str(tmp_path / name)}

    with pytest.raises(RuntimeError) as raised, Proxy(addon_script, options=options):
        pass

    said = str(raised.value).splitlines()
    assert [line for line in said if complaint in line] == [
        line for line in said if "callerid: " in line
    ]
    assert "Traceback" not in str(raised.value)


def test_a_database_that_is_none_stops_mitmproxy_with_one_line(
    addon_script: Path, tmp_path: Path
) -> None:
    (tmp_path / "traces.db").write_text("This is a letter to my aunt, and no database at all.")
    options: dict[str, str | list[str]] = {"callerid_db": str(tmp_path / "traces.db")}

    with pytest.raises(RuntimeError, match="cannot be used as traces"):
        Proxy(addon_script, options=options).__enter__()

    assert (tmp_path / "traces.db").read_text().startswith("This is a letter")


def test_clients_do_not_get_through_to_the_proxy_itself(proxy: Proxy) -> None:
    with client_of(proxy) as client:
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "127.1"):
            answer = client.get(f"http://{host}:{proxy.port}/")
            assert answer.status_code == 502, host
        with pytest.raises(httpx.ProxyError):
            client.get(f"https://[::1]:{proxy.port}/")

    assert f"port {proxy.port} is the proxy's own" in proxy.log


def test_traces_are_for_their_owner_only(proxy: Proxy, provider: FakeProvider) -> None:
    with client_of(proxy) as client:
        client.post(f"{provider.url}/v1/messages", json=MESSAGES)
    calls_after(proxy)

    assert proxy.traces.stat().st_mode & 0o777 == 0o600


def test_credentials_are_found_nowhere(addon_script: Path, provider: FakeProvider) -> None:
    planted = {
        "authorization": "Bearer sk-planted-authorization-1",
        "x-api-key": "sk-ant-planted-api-key-2",
        "x-goog-api-key": "AIza-planted-goog-3",
        "cookie": "session=planted-cookie-4",
        "proxy-authorization": "Basic cGxhbnRlZC1wcm94eS01",
        "api-key": "planted-azure-6",
        "x-my-secret-token": "planted-token-7",
    }
    in_url = "planted-url-key-8"
    gemini = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    path = "/v1beta/models/m:generateContent"

    with Proxy(addon_script, options={"flow_detail": "0"}) as proxy, client_of(proxy) as client:
        client.post(f"{provider.url}/v1/messages", json=MESSAGES, headers=planted)
        client.post(f"{provider.url}{path}?key={in_url}&alt=json", json=gemini)
        client.post(f"{provider.url}/v1/messages?api_key={in_url}", content=b"{broken")
        rows = calls_after(proxy)
        files = proxy.traces.parent.glob("traces.db*")
        written = b"".join(file.read_bytes() for file in files) + proxy.log.encode()

    assert len(rows) == 2
    assert dict(provider.asked[-3].headers)["x-api-key"] == planted["x-api-key"]
    assert in_url in provider.asked[-2].query
    for secret in [*(value.split()[-1].split("=")[-1] for value in planted.values()), in_url]:
        assert secret.encode() not in written, secret


def test_a_streamed_reply_can_be_viewed_afterwards(
    addon_script: Path, provider: FakeProvider, tmp_path: Path
) -> None:
    flows = tmp_path / "flows"
    with (
        Proxy(addon_script, options={"save_stream_file": str(flows)}) as proxy,
        client_of(proxy) as client,
    ):
        sent = client.post(f"{provider.url}/v1/messages", json=MESSAGES | {"stream": True})
        (row,) = calls_after(proxy)

    with flows.open("rb") as file:
        (flow,) = FlowReader(file).stream()
    assert isinstance(flow, http.HTTPFlow)
    assert flow.response
    assert flow.response.content == sent.content
    assert row["session_id"] in flow.comment


def test_a_header_that_goes_with_the_session_is_named_to_the_operator(
    proxy: Proxy, provider: FakeProvider
) -> None:
    with client_of(proxy) as client:
        for chat in ("chat-red", "chat-green", "chat-blue"):
            messages: list[Any] = [{"role": "user", "content": f"Hello from {chat}"}]
            for _ in range(2):
                body = MESSAGES | {"messages": messages}
                headers = {"X-My-Chat": chat, "user-agent": "my-agent/1.0"}
                url = f"{provider.url}/v1/messages"
                said = client.post(url, json=body, headers=headers).json()["content"]
                messages += [
                    {"role": "assistant", "content": said},
                    {"role": "user", "content": "And then?"},
                ]
    rows = calls_after(proxy)

    assert "callerid: my-agent sends x-my-chat, which is the same within runs" in proxy.log
    assert {row["because"] for row in rows} == {"new", "history"}
