"""A fleet behind a real mitmdump in reverse mode: where calls go, and what becomes of them."""

from __future__ import annotations

import json
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab import Answer, Asked, FakeProvider, Proxy, ToolCall, newest_text, tool_results
from lab.chats import CHATS, Line
from lab.fleet import MODEL, Worker, places, talks, workers

DEADLINE_SECONDS = 10.0
EAGER = {"connection_strategy": "eager"}  # mitmproxy's default, and not the laboratory's


@pytest.fixture
def fleet() -> Iterator[list[Worker]]:
    with workers(3) as made:
        yield made


@contextmanager
def before(
    addon_script: Path, folder: Path, upstreams: list[str], reverse: str = "", **routing: Any
) -> Iterator[Proxy]:
    """A proxy that stands before some upstreams; its own, which gets no calls, is the first."""
    settings = {
        "routing": {"upstreams": upstreams, "health": {"every_seconds": 0.3}, **routing},
        "admin": {"enabled": False},
    }
    file = folder / "settings.yaml"
    file.write_text(json.dumps(settings))
    options = {"callerid_config": str(file), "callerid_db": str(folder / "traces.db")} | EAGER
    with Proxy(addon_script, mode=f"reverse:{reverse or upstreams[0]}", options=options) as proxy:
        yield proxy


def urls(fleet: list[Worker]) -> list[str]:
    return [worker.url for worker in fleet]


def get(proxy: Proxy, path: str) -> httpx.Response:
    return httpx.get(f"{proxy.url}{path}", trust_env=False)


def wait_until(proxy: Proxy, url: str, *, is_well: bool) -> None:
    """Wait until the proxy knows how an upstream is."""
    end = time.monotonic() + DEADLINE_SECONDS
    while get(proxy, "/metrics").json()["upstreams"][url]["well"] is not is_well:
        assert time.monotonic() < end, f"{url} was not found to be well={is_well}"
        threading.Event().wait(0.02)


def rows(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "traces.db")) as database:
        database.row_factory = sqlite3.Row
        query = "select * from calls order by started_at"
        return [dict(row) for row in database.execute(query)]


# Where nobody is killed


@dataclass
class Calm:
    """Three workers behind a proxy, which knows of a fourth that was never there."""

    proxy: Proxy
    fleet: list[Worker]
    nobody: str
    folder: Path

    @property
    def asked(self) -> int:
        return sum(len(worker.asked) for worker in self.fleet)


@pytest.fixture(scope="module")
def calm(addon_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calm]:
    folder = tmp_path_factory.mktemp("calm")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with workers(3) as fleet:
        upstreams = [nobody, *urls(fleet)[1:]]
        with before(addon_script, folder, upstreams, fleet[0].url) as proxy:
            wait_until(proxy, nobody, is_well=False)
            yield Calm(proxy, fleet, nobody, folder)


def test_an_id_that_is_too_long_is_refused_and_goes_nowhere(calm: Calm) -> None:
    before = calm.asked
    with talks(["one", "two"]) as (one, two):
        refused = one.say(calm.proxy.url, headers={"x-dynamo-session-id": "x" * 257})
        taken = one.say(calm.proxy.url, headers={"x-dynamo-session-id": "x" * 256})
        baggage = two.say(calm.proxy.url, headers={"baggage": f"session.id=s1,a={'x' * 300}"})

    assert refused.status_code == 400
    assert "x-dynamo-session-id is longer than 256 bytes" in refused.json()["error"]["message"]
    assert (taken.status_code, baggage.status_code) == (200, 200)
    assert calm.asked == before + 2


def test_the_numbers_of_upstreams_are_prometheus_text(calm: Calm) -> None:
    with talks(["one"]) as (talk,):
        talk.say(calm.proxy.url)
        figures = get(calm.proxy, "/metrics").json()["upstreams"]
        text = get(calm.proxy, "/metrics?format=prometheus").text

    said = {
        (sample.name, sample.labels.get("upstream")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert list(figures) == [calm.nobody, *urls(calm.fleet)[1:]]
    assert sum(each["sessions"] for each in figures.values()) > 0
    for url, each in figures.items():
        assert said["callerid_upstream_up", url] == each["well"] == (url != calm.nobody)
        assert said["callerid_upstream_sessions", url] == each["sessions"]


def test_what_is_no_call_goes_to_the_upstream_of_reverse_mode(calm: Calm) -> None:
    assert get(calm.proxy, "/v1/models").status_code == 404

    assert [asked.path for asked in calm.fleet[0].asked] == ["/v1/models"]


# Where workers are killed, or the proxy ends


def test_conversations_without_ids_stay_at_their_worker_through_a_restart(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    with talks([f"talk{number}" for number in range(6)]) as held:
        for _ in range(2):
            with before(addon_script, tmp_path, urls(fleet)) as proxy:
                for talk in [*held, *reversed(held)]:
                    assert talk.say(proxy.url).status_code == 200
                figures = get(proxy, "/metrics").json()
        at = places(fleet)
        ids = [talk.sessions for talk in held]

    assert [len(set(names)) for names in at.values()] == [1] * 6
    assert sorted(len(worker.asked) for worker in fleet) == [8, 8, 8]
    assert all(len(each) == 1 for each in ids)
    assert figures["upstreams"] == {url: {"well": True, "sessions": 2} for url in urls(fleet)}
    assert {row["upstream"] for row in rows(tmp_path)} == set(urls(fleet))
    assert {f"http://{row['host']}:{row['port']}" for row in rows(tmp_path)} == set(urls(fleet))


def test_soft_goes_on_elsewhere_when_a_worker_is_killed_and_stays_there(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    with (
        talks(["one", "two", "three"]) as held,
        before(addon_script, tmp_path, urls(fleet)) as proxy,
    ):
        for talk in held:
            talk.say(proxy.url)
        fleet[0].kill()  # reverse mode's own upstream, too
        wait_until(proxy, fleet[0].url, is_well=False)
        codes = [talk.say(proxy.url).status_code for talk in (*held, *held)]
        at = places(fleet, since=1)
        health = get(proxy, "/health").json()

    assert codes == [200] * 6
    assert all(talk.repeated == 0 for talk in held)
    assert [len(set(at[talk.name])) for talk in held] == [1, 1, 1]
    assert at["two"] == ["w2"] * 2
    assert at["three"] == ["w3"] * 2
    assert health["status"] == "degraded"


def test_a_call_that_finds_its_worker_gone_is_the_last_to_do_so(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    gone = fleet[0].url
    fleet[0].kill()
    settings = {"every_seconds": 3600}

    with (
        before(addon_script, tmp_path, urls(fleet), urls(fleet)[1], health=settings) as proxy,
        talks(["one"]) as (talk,),
    ):
        wait_until(proxy, gone, is_well=False)
        assert talk.say(proxy.url).status_code == 200
        assert talk.repeated == 0
        at = next(worker for worker in fleet if worker.asked)
        at.kill()
        assert talk.say(proxy.url).status_code == 200  # at once, or when asked again
        (session,) = talk.sessions

    last = rows(tmp_path)[-1]
    assert last["upstream"] not in (gone, at.url)
    assert last["session_id"] == session


def test_hard_asks_for_a_new_session_in_words_that_an_sdk_shows(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    with before(addon_script, tmp_path, urls(fleet), mode="hard") as proxy:
        line = Line(proxy.ca_file, None, proxy.url, {"x-session-id": "run-1"})
        chat = CHATS["openai_chat"](line, "", (), streams=False)
        chat.ask("Hello")
        at = next(worker for worker in fleet if worker.asked)
        at.kill()
        wait_until(proxy, at.url, is_well=False)
        with pytest.raises(openai.APIStatusError) as refused:
            chat.ask("Are you there?")
        chat.close()
        again = CHATS["openai_chat"](
            Line(proxy.ca_file, None, proxy.url, {"x-session-id": "run-2"}), "", (), streams=False
        )
        again.ask("Hello")
        again.close()

    assert refused.value.status_code == 410
    assert "session run-1 is closed" in str(refused.value)
    assert "begin a new session with a new id" in str(refused.value)
    assert refused.value.response.headers["x-callerid-session-id"] == "run-1"
    states = [(row["session_id"], row["state"], row["status"]) for row in rows(tmp_path)]
    assert states == [("run-1", "ok", 200), ("run-1", "blocked", 410), ("run-2", "ok", 200)]


FINALS = ("x-callerid-session-final", "x-dynamo-session-final")


def test_in_soft_a_closed_session_begins_again(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    with (
        talks(["one"]) as (talk,),
        before(addon_script, tmp_path, urls(fleet)) as proxy,
    ):
        said = [talk.say(proxy.url), talk.say(proxy.url, headers={FINALS[0]: "true"})]
        ended = get(proxy, "/metrics").json()["upstreams"]
        said.append(talk.say(proxy.url))

    assert sum(each["sessions"] for each in ended.values()) == 0
    assert [reply.status_code for reply in said] == [200] * 3


def test_in_hard_a_closed_session_stays_closed_through_a_restart(
    addon_script: Path, tmp_path: Path, fleet: list[Worker]
) -> None:
    with talks(list(FINALS)) as held:
        with before(addon_script, tmp_path, urls(fleet), mode="hard") as proxy:
            for talk in held:
                talk.say(proxy.url)
            begun = get(proxy, "/metrics").json()["upstreams"]
            last = [talk.say(proxy.url, headers={talk.name: "true"}) for talk in held]
            ended = get(proxy, "/metrics").json()["upstreams"]
            now = [talk.say(proxy.url) for talk in held]
        with before(addon_script, tmp_path, urls(fleet), mode="hard") as proxy:
            after = [talk.say(proxy.url) for talk in held]

    assert sum(each["sessions"] for each in begun.values()) == 2
    assert [reply.status_code for reply in last] == [200, 200]
    assert sum(each["sessions"] for each in ended.values()) == 0
    assert [reply.status_code for reply in (*now, *after)] == [410] * 4


class Page(BaseHTTPRequestHandler):
    """Answers /health with the status that its server has now."""

    def do_GET(self) -> None:
        is_asked = self.path == "/health?deep=1"
        self.send_response(self.server.status if is_asked else 404)  # type: ignore[attr-defined]
        self.send_header("location", "http://127.0.0.1:1/nowhere")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_a_health_path_decides_and_where_nobody_is_well_the_client_is_told_to_come_back(
    addon_script: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Page))
        server.status = 307  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever).start()
        stack.callback(server.shutdown)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        health = {"every_seconds": 0.05, "path": "health?deep=1"}
        proxy = stack.enter_context(before(addon_script, tmp_path, [url], health=health))
        for status, is_well in ((200, True), (500, False), (307, True), (503, False)):
            server.status = status  # type: ignore[attr-defined]
            wait_until(proxy, url, is_well=is_well)
        (talk,) = stack.enter_context(talks(["one"]))
        refused = talk.say(proxy.url)

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert url in refused.json()["error"]["message"]


# What routing must not touch

LOOK = ToolCall("look", {"task": "the tide table"})


def clerk(asked: Asked) -> Answer:
    """Looks things up, and fails on request."""
    if results := tool_results(asked):
        return Answer(f"The table says {results[0]}.")
    if newest_text(asked) == "fail":
        return Answer("Overloaded", status=529)
    return Answer("Let me look.", (LOOK,))


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_streams_tool_calls_and_errors_pass_as_they_are(
    addon_script: Path, tmp_path: Path, tls: bool
) -> None:
    with FakeProvider(clerk, tls=tls) as one, FakeProvider(clerk, tls=tls) as two:
        providers = [one, two]
        with before(addon_script, tmp_path, [one.url, two.url], "http://127.0.0.1:9") as proxy:
            said = []
            for dialect, chat_of in CHATS.items():
                for streams in (False, True):
                    chat = chat_of(
                        Line(proxy.ca_file, None, proxy.url), dialect, ("look",), streams=streams
                    )
                    first = chat.ask(f"When is high tide, {dialect} {streams}?")
                    said.append(first.wishes[0].arguments)
                    said.append(chat.give(first.wishes, ["half past nine"]).text)
                    with pytest.raises(Exception, match="Overloaded"):
                        chat.ask("fail")
                    chat.close()
            if tls:
                over_tls(proxy)
        arrived = [asked for provider in providers for asked in provider.asked]

    assert said == [dict(LOOK.arguments), "The table says half past nine."] * len(CHATS) * 2
    assert all(provider.asked for provider in providers)
    assert len(arrived) == len(CHATS) * 2 * 3 + 2 * tls
    assert "2" in {asked.http_version for asked in arrived} or not tls
    ports = {f"localhost:{provider.port}" for provider in providers}
    assert {asked.header("host") or "http/2" for asked in arrived} <= {*ports, "http/2"}
    states = [row["state"] for row in rows(tmp_path)]
    assert sorted(set(states)) == ["error", "ok"]
    assert states.count("error") == len(CHATS) * 2


def over_tls(proxy: Proxy) -> None:
    """Two sessions of a client that offers HTTP/2, which mitmproxy then speaks to the upstreams."""
    url = f"https://localhost:{proxy.port}/v1/chat/completions"
    call = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    trust = ssl.create_default_context(cafile=proxy.ca_file)
    with httpx.Client(http2=True, trust_env=False, verify=trust) as client:
        for id in ("run-1", "run-2"):
            reply = client.post(url, json=call, headers={"x-session-id": id})
            assert reply.status_code == 200


def test_internal_headers_stop_before_a_public_upstream_that_routing_chose(
    addon_script: Path, tmp_path: Path
) -> None:
    with FakeProvider(clerk) as provider:
        providers = tmp_path / "providers.yaml"
        row = {"name": "public", "hosts": ["127.0.0.1"], "source": "a test"}
        providers.write_text(json.dumps({"providers": [row]}))
        settings = {
            "routing": {"upstreams": [f"https://127.0.0.1:{provider.port}"]},
            "tables": {"providers": "providers.yaml"},
            "admin": {"enabled": False},
        }
        (tmp_path / "settings.yaml").write_text(json.dumps(settings))
        options = {"callerid_config": str(tmp_path / "settings.yaml"), "ssl_insecure": "true"}
        mode = f"reverse:https://localhost:{provider.port}"
        with Proxy(addon_script, mode=mode, options=options) as proxy, talks(["one"]) as held:
            reply = held[0].say(proxy.url, headers={"x-dynamo-session-id": "in", "x-mine": "kept"})

    arrived = dict(provider.asked[0].headers)
    assert reply.status_code == 200
    assert arrived["x-mine"] == "kept"
    assert not [name for name in arrived if "dynamo" in name or "callerid" in name]
