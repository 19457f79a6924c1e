"""Calls in a WebSocket: each is identified and recorded, and its frames pass as they come."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database
from websockets.sync.client import ClientConnection, connect

from lab import Answer, Asked, FakeProvider, Proxy, ToolCall

DEADLINE_SECONDS = 10.0
CODEX = {"user-agent": "codex_exec/0.169.0", "session-id": "run-1", "thread-id": "run-1"}
RUN = ToolCall("run", {"command": "ls"})


def model(asked: Asked) -> Answer:
    said = asked.json
    if said.get("generate") is False:
        return Answer()
    if any(item.get("type") == "function_call_output" for item in said.get("input", [])):
        return Answer(f"Answer {asked.serial}: all is there.")
    return Answer("I look.", (RUN,))


@contextmanager
def connected(
    proxy: Proxy, provider: FakeProvider, path: str, headers: dict[str, str]
) -> Iterator[ClientConnection]:
    """A WebSocket through the proxy."""
    tunnel = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_SECONDS)
    target = f"localhost:{provider.port}"
    tunnel.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    assert b" 200 " in tunnel.recv(1000)
    uri = f"ws://{target}{path}"
    agent = headers.pop("user-agent", "test/1")
    with connect(
        uri, sock=tunnel, additional_headers=headers, user_agent_header=agent, proxy=None
    ) as client:
        yield client


def message(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def create(**more: Any) -> str:
    return json.dumps({"type": "response.create", "model": "m", "stream": True, **more})


def ask(client: ClientConnection, frame: str) -> list[dict[str, Any]]:
    """Send one call; the events of its reply."""
    client.send(frame)
    events = []
    while not events or events[-1]["type"] not in ("response.completed", "response.failed"):
        events.append(json.loads(client.recv(DEADLINE_SECONDS)))
    return events


@contextmanager
def limited(
    addon_script: Path, folder: Path, provider: FakeProvider, **settings: Any
) -> Iterator[tuple[Proxy, ClientConnection]]:
    """A WebSocket through a proxy with these settings of rate_limiting."""
    file = folder / "settings.yaml"
    file.write_text(json.dumps({"rate_limiting": settings, "admin": {"enabled": False}}))
    with (
        Proxy(addon_script, options={"callerid_config": str(file)}) as proxy,
        connected(proxy, provider, "/v1/responses", {}) as client,
    ):
        yield proxy, client


def calls(proxy: Proxy) -> list[dict[str, Any]]:
    proxy.stop()
    with closing(Database(proxy.traces)) as database:
        return list(database.query("select * from calls order by started_at"))


def test_each_response_in_a_socket_is_a_call_of_its_own(addon_script: Path) -> None:
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        Proxy(addon_script) as proxy,
    ):
        with connected(proxy, provider, "/v1/responses", dict(CODEX)) as client:
            warm = ask(client, create(input=[], generate=False))
            warm_id = warm[-1]["response"]["id"]
            first = ask(client, create(input=[message("Look")], previous_response_id=warm_id))
            output = {"type": "function_call_output", "call_id": "call_1", "output": "a b c"}
            first_id = first[-1]["response"]["id"]
            last = ask(client, create(input=[output], previous_response_id=first_id))
        rows = calls(proxy)

    assert [row["kind"] for row in rows] == ["prewarm", "main", "main"]
    assert {row["session_id"] for row in rows} == {"run-1"}
    assert {row["state"] for row in rows} == {"ok"}
    assert {row["method"] for row in rows} == {"WEBSOCKET"}
    assert [row["previous_response_id"] for row in rows] == [None, warm_id, first_id]
    assert rows[2]["response_id"] == last[-1]["response"]["id"]
    assert all(row["input_tokens"] and row["first_byte_at"] for row in rows[1:])
    back = {name.lower(): value for name, value in json.loads(rows[2]["reply_headers"])}
    assert back["x-request-id"] == "req_socket"  # of what answered the handshake
    assert back["set-cookie"] == "***"
    assert "content-type" not in back


def test_without_ids_the_replies_that_calls_name_keep_them_together(addon_script: Path) -> None:
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        Proxy(addon_script) as proxy,
    ):
        with connected(proxy, provider, "/v1/responses", {}) as client:
            first = ask(client, create(input=[message("Look")]))
            output = {"type": "function_call_output", "call_id": "call_1", "output": "a b c"}
            ask(client, create(input=[output], previous_response_id=first[-1]["response"]["id"]))
            ask(client, create(input=[message("Something else")]))
        rows = calls(proxy)

    one, two, other = (row["session_id"] for row in rows)
    assert one == two != other
    assert [row["because"] for row in rows] == ["new", "response_id", "new"]


def test_frames_pass_untouched_and_at_once(addon_script: Path) -> None:
    held = threading.Semaphore(0)
    sent: list[int] = []

    async def one_by_one(asked: Asked, index: int) -> None:
        if index:
            assert await asyncio.to_thread(held.acquire, timeout=DEADLINE_SECONDS)
        sent.append(index)

    frame = create(input=[message("Look\ud83d\ude00")]) + "  "
    with (
        FakeProvider(model, tls=False, opens_sockets=True, before_chunk=one_by_one) as provider,
        Proxy(addon_script) as proxy,
        connected(proxy, provider, "/v1/responses", {}) as client,
    ):
        client.send(frame)
        received = 0
        while json.loads(client.recv(DEADLINE_SECONDS))["type"] != "response.completed":
            received += 1
            assert sent == list(range(received))
            held.release()

    assert provider.asked[0].body.decode() == frame


def test_a_socket_that_closes_in_the_middle_of_a_reply_says_who_left(addon_script: Path) -> None:
    async def stay(asked: Asked, index: int) -> None:
        if index == 2:
            await asyncio.Event().wait()

    with (
        FakeProvider(model, tls=False, opens_sockets=True, before_chunk=stay) as provider,
        Proxy(addon_script) as proxy,
    ):
        with connected(proxy, provider, "/v1/responses", {}) as client:
            client.send(create(input=[message("Look")]))
            client.recv(DEADLINE_SECONDS)
        proxy.wait_for("client disconnect")
        (row,) = calls(proxy)

    assert row["state"] == "aborted"
    assert "WebSocket was closed" in row["error_message"]


def test_identity_headers_of_a_handshake_stop_before_public_providers(
    addon_script: Path,
) -> None:
    with (
        FakeProvider(model, opens_sockets=True) as provider,
        Proxy(addon_script, provider=provider) as proxy,
    ):
        tunnel = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_SECONDS)
        tunnel.sendall(b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n")
        assert b" 200 " in tunnel.recv(1000)
        trust = ssl.create_default_context(cafile=proxy.ca_file)
        with connect(
            "wss://api.openai.com/v1/responses",
            sock=tunnel,
            ssl=trust,
            proxy=None,
            additional_headers={"x-callerid-session-id": "inside", "x-mine": "kept"},
        ) as client:
            ask(client, create(input=[message("Look")]))

    arrived = dict(provider.asked[0].headers)
    assert arrived["x-mine"] == "kept"
    assert "x-callerid-session-id" not in arrived


@pytest.mark.parametrize("frame", ["not json", "[]", '"response.create"', '{"type": 3}', "{}"])
def test_frames_that_are_no_calls_pass_unrecorded(addon_script: Path, frame: str) -> None:
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        Proxy(addon_script) as proxy,
    ):
        with connected(proxy, provider, "/v1/responses", {}) as client:
            client.send(frame)
            ask(client, create(input=[message("Look")]))
        rows = calls(proxy)

    assert [row["state"] for row in rows] == ["ok"]


def test_sockets_for_something_else_are_not_looked_at(addon_script: Path) -> None:
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        Proxy(addon_script) as proxy,
    ):
        with connected(proxy, provider, "/v1/news", {}) as client:
            ask(client, create(input=[message("Look")]))
        assert calls(proxy) == []


# Beyond a budget


def test_a_call_beyond_its_budget_is_tools_asked_the_socket_and_goes_nowhere(
    addon_script: Path, tmp_path: Path
) -> None:
    limits = {"requests_per_minute": 1}
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        limited(addon_script, tmp_path, provider, per_session=limits) as (proxy, client),
    ):
        first = ask(client, create(input=[message("Look")]))
        id = first[-1]["response"]["id"]
        client.send(create(input=[message("And there")], previous_response_id=id))
        refused = json.loads(client.recv(DEADLINE_SECONDS))
        other = ask(client, create(input=[message("Something else")]))
        rows = calls(proxy)

    assert refused["type"] == "error"
    assert refused["status"] == 429
    assert refused["event_id"].startswith("event_")
    assert refused["error"]["code"] == "rate_limit_exceeded"
    assert "has used its 1 requests a minute" in refused["error"]["message"]
    assert 0 < int(refused["headers"]["retry-after"]) <= 60
    assert other[-1]["type"] == "response.completed"
    assert len(provider.asked) == 2
    assert [(row["state"], row["status"]) for row in rows] == [
        ("ok", 101), ("blocked", 429), ("ok", 101)
    ]  # fmt: skip


def test_a_refusal_waits_for_the_reply_that_is_under_way(
    addon_script: Path, tmp_path: Path
) -> None:
    held = threading.Event()

    async def hold(asked: Asked, index: int) -> None:
        if index == 2:
            assert await asyncio.to_thread(held.wait, DEADLINE_SECONDS)

    limits = {"requests_per_minute": 1}
    again = create(input=[message("Look")])
    with (
        FakeProvider(model, tls=False, opens_sockets=True, before_chunk=hold) as provider,
        limited(addon_script, tmp_path, provider, per_agent=limits) as (proxy, client),
    ):
        client.send(again)
        events = [json.loads(client.recv(DEADLINE_SECONDS)) for _ in range(2)]
        client.send(again)
        client.send("not json")  # which is said in the log, when the call before has been seen
        proxy.wait_for("counted as unreadable_frame")
        client.send(again)
        held.set()
        while [event["type"] for event in events].count("error") < 2:
            events.append(json.loads(client.recv(DEADLINE_SECONDS)))

    types = [event["type"] for event in events]
    assert types[-3:] == ["response.completed", "error", "error"]
    assert types.count("error") == 2
    assert len(provider.asked) == 1


def test_a_call_that_is_warned_of_passes_in_the_socket(addon_script: Path, tmp_path: Path) -> None:
    limits = {"requests_per_minute": 1}
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        limited(addon_script, tmp_path, provider, per_agent=limits, action="warn") as (
            proxy,
            client,
        ),
    ):
        for text in ("Look", "Something else"):
            assert ask(client, create(input=[message(text)]))[-1]["type"] == "response.completed"
        proxy.wait_for("has used its 1 requests a minute")

    assert len(provider.asked) == 2


def test_a_budget_that_cannot_be_asked_lets_calls_in_sockets_pass(
    addon_script: Path, tmp_path: Path
) -> None:
    pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        storage = f"redis://127.0.0.1:{taken.getsockname()[1]}/0"

    limits = {"requests_per_minute": 1}
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        limited(addon_script, tmp_path, provider, per_agent=limits, storage=storage) as (
            proxy,
            client,
        ),
    ):
        for text in ("Look", "Something else"):
            assert ask(client, create(input=[message(text)]))[-1]["type"] == "response.completed"
        proxy.wait_for("counted as budget_lost")
        rows = calls(proxy)

    assert [row["state"] for row in rows] == ["ok", "ok"]
