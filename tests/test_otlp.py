"""Calls become spans: a tree a run, the same ids each time, told to a real OTLP receiver."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from callerid.commands.cli import cli
from callerid.exports import otlp
from callerid.exports.live import LiveExport
from callerid.exports.spans import Span
from callerid.guard import Guard
from callerid.numbers import Numbers
from callerid.operators.pages import Asked, Pages
from callerid.prices import Prices
from callerid.proxy.setup import Setup
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.settings.values import ExportSettings, OtlpSettings
from callerid.stamp.parts import part
from callerid.traces.database import all_calls, open_database
from callerid.traces.rows import Entry, State
from callerid.turn import Client, Dialect, Request, Timing
from collector import Collector, Got
from lab import FakeProvider, Proxy
from make import HELLO, call
from office import anthropic_reply, office, text
from recorded import CLERK, ERRAND, KEY, TRACEPARENT, record

ADDON = Path(__file__).parents[1] / "addon" / "main.py"
INTERNAL, CLIENT = 1, 3
ERROR = 2


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("otlp") / "traces.db"
    record(path)
    return path


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["export", "--db", str(path), *words])


def sent(path: Path, collector: Collector, *words: str, name: str = "otlp") -> list[Got]:
    result = run(path, "--format", name, "--endpoint", collector.url, *words)
    assert result.exit_code == 0, result.output
    return collector.spans


# The tree


def test_a_run_is_a_tree_of_spans(path: Path, collector: Collector) -> None:
    spans = sent(path, collector)
    first, helper = spans[0], spans[2]

    assert (first.name, first.parent, first.kind) == (f"invoke_agent {agent(first)}", "", INTERNAL)
    assert (spans[1].name, spans[1].parent, spans[1].kind) == (
        "chat claude-sonnet-4-6", first.id, CLIENT,
    )  # fmt: skip
    assert (helper.parent, helper.trace) == (first.id, first.trace)
    assert spans[3].parent == helper.id
    assert spans[4].parent == first.id
    assert len(spans) == 8 + 5
    assert (first.seconds, spans[1].seconds) == (5.0, 1.0)
    assert collector.services == {"callerid"}
    assert collector.schemas == {"https://opentelemetry.io/schemas/1.41.0"}


def agent(span: Got) -> str:
    return str(span.attributes["gen_ai.agent.name"])


def test_the_run_is_the_session_id_and_the_session_the_conversation(
    path: Path, collector: Collector
) -> None:
    first, _, helper, of_helper, *_ = sent(path, collector)
    ids = [
        (span.attributes["session.id"], span.attributes["gen_ai.conversation.id"])
        for span in (first, helper, of_helper)
    ]

    assert ids[0][0] == ids[0][1] == ids[1][0]
    assert ids[1] == ids[2]
    assert ids[1][1] != ids[0][1]
    assert helper.attributes["callerid.session.parent_id"] == ids[0][1]


def test_a_call_joins_the_trace_of_its_client(path: Path, collector: Collector) -> None:
    rivers = [span for span in sent(path, collector) if "gpt-5.5" in span.name]

    assert (rivers[0].trace, rivers[0].parent) == tuple(TRACEPARENT.split("-")[1:3])
    assert rivers[1].trace != rivers[0].trace  # its client sent none
    assert rivers[1].parent in {span.id for span in collector.spans}


def test_the_same_call_is_the_same_span_each_time(path: Path, collector: Collector) -> None:
    once = list(sent(path, collector))
    twice = sent(path, collector)[len(once) :]

    assert twice == once
    assert len({span.id for span in once}) == len(once)


def test_the_ids_are_those_that_upstreams_are_told(path: Path, collector: Collector) -> None:
    """The profile `otel` sends a traceparent: what an upstream traces hangs below our span."""
    with closing(open_database(path)) as database:
        record = next(all_calls(database))
    told = part("traceparent", record.identity, record.id)

    assert told == f"00-{sent(path, collector)[1].trace}-{collector.spans[1].id}-01"


# What spans say


def test_a_call_is_told_by_the_conventions(path: Path, collector: Collector) -> None:
    said = sent(path, collector)[4].attributes

    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-6",
        "gen_ai.response.model": "claude-sonnet-4-6",
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.usage.input_tokens": 190,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "callerid.because": "history",
    }
    assert {name: said[name] for name in wanted} == wanted
    gemini = next(span for span in collector.spans if "gemini" in span.name)
    assert gemini.name == "generate_content gemini-2.5-flash"
    assert gemini.attributes["gen_ai.usage.reasoning.output_tokens"] == 5
    stream = next(span for span in collector.spans if span.attributes.get("gen_ai.request.stream"))
    assert stream.attributes["gen_ai.response.time_to_first_chunk"] == 0.5


def test_a_failure_is_an_error(path: Path, collector: Collector) -> None:
    (failed,) = [span for span in sent(path, collector) if span.status == ERROR]

    assert failed.attributes["error.type"] == "invalid_request_error"
    assert failed.attributes["http.response.status_code"] == 401


@pytest.mark.parametrize("name", ["otlp", "openinference"])
def test_nothing_that_was_said_is_told_unasked(path: Path, collector: Collector, name: str) -> None:
    told = json.dumps(sent(path, collector, name=name))

    for words in (CLERK, ERRAND, "highest tide", "30th of March", "Danube", "Etoile", KEY):
        assert words not in told


def test_what_was_said_is_told_where_it_is_asked_for(path: Path, collector: Collector) -> None:
    said = sent(path, collector, "--content")[4].attributes
    messages = json.loads(said["gen_ai.input.messages"])

    assert json.loads(said["gen_ai.system_instructions"]) == [{"type": "text", "content": CLERK}]
    assert messages[1] == {"role": "assistant", "parts": [
        {"type": "text", "content": "I have it read."},
        {"type": "tool_call", "id": "t1", "name": "delegate", "arguments": {"task": ERRAND}},
    ]}  # fmt: skip
    assert messages[2]["parts"][0] == {
        "type": "tool_call_response", "id": "t1", "response": "14.1 m.",
    }  # fmt: skip
    assert json.loads(said["gen_ai.output.messages"]) == [{
        "role": "assistant", "finish_reason": "end_turn",
        "parts": [{"type": "text", "content": "On the 30th of March."}],
    }]  # fmt: skip
    assert json.loads(said["gen_ai.tool.definitions"])[0]["name"] == "delegate"
    assert "an errand that" in collector.spans[3].attributes["callerid.evidence"]
    assert KEY not in json.dumps(collector.spans)


def test_the_newest_names_are_told_where_they_are_asked_for(
    path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(sent(path, collector)[0].attributes)
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental")
    collector.spans.clear()
    after = sent(path, collector)[0].attributes

    assert set(before) - set(after) == {"gen_ai.agent.id"}


def test_openinference_is_told_on_request(path: Path, collector: Collector) -> None:
    first, call, *_ = sent(path, collector, "--content", name="openinference")
    last = collector.spans[4].attributes

    assert first.attributes["openinference.span.kind"] == "AGENT"
    assert call.attributes["openinference.span.kind"] == "LLM"
    assert not any(name.startswith("gen_ai.") for name in call.attributes)
    assert (last["llm.token_count.prompt"], last["llm.token_count.total"]) == (190, 210)
    assert last["llm.input_messages.0.message.role"] == "system"
    assert last["llm.input_messages.2.message.tool_calls.0.tool_call.function.name"] == "delegate"
    assert last["llm.input_messages.3.message.role"] == "tool"
    assert last["llm.input_messages.4.message.content"] == "Well?"
    assert last["llm.output_messages.0.message.content"] == "On the 30th of March."
    assert (last["input.value"], last["output.value"]) == ("Well?", "On the 30th of March.")
    assert last["llm.cost.total"] > 0


# How they are sent


def test_headers_go_along(path: Path, collector: Collector) -> None:
    sent(path, collector, "--header", "authorization=Bearer abc", "--header", "x-team = tide")

    assert collector.headers[0]["authorization"] == "Bearer abc"
    assert collector.headers[0]["x-team"].strip() == "tide"


def test_spans_are_lines_of_json_where_there_is_no_collector(
    path: Path, collector: Collector
) -> None:
    (line,) = run(path, "--format", "otlp").stdout.splitlines()
    spans = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]

    wanted = sent(path, collector)
    assert [(span["traceId"], span["spanId"]) for span in spans] == [
        (span.trace, span.id) for span in wanted
    ]
    assert spans[1]["parentSpanId"] == wanted[1].parent
    assert spans[1]["kind"] == CLIENT


def span(number: int, words: str = "") -> Span:
    return Span(str(number), "0", "0", "", 0.0, 0.0, {"words": words})


def test_spans_go_in_batches_that_a_collector_takes() -> None:
    many = [span(number) for number in range(otlp.BATCH + 1)]
    large = [span(number, "x" * (otlp.BATCH_BYTES // 2)) for number in range(5)]

    assert [len(batch) for batch in otlp.batches(many)] == [otlp.BATCH, 1]
    assert [len(batch) for batch in otlp.batches(large)] == [2, 2, 1]
    assert list(otlp.batches([])) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--format", "csv", "--endpoint", "http://localhost:1"), "--endpoint is for spans"),
        (("--format", "otlp", "--endpoint", "localhost"), "expected a URL as http://localhost"),
        (("--format", "otlp", "--header", "a"), "expected NAME=VALUE"),
    ],
)
def test_a_mistake_is_named(path: Path, words: tuple[str, ...], complaint: str) -> None:
    result = run(path, *words)

    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())


def test_a_collector_that_takes_nothing_is_named(path: Path) -> None:
    with Collector(status=400) as collector:
        result = run(path, "--format", "otlp", "--endpoint", collector.url)

    assert result.exit_code == 1
    assert f"{collector.url} does not take the spans; it has taken 0" in result.output


# While the proxy runs


def live(path: Path, url: str, **more: Any) -> Any:
    return office(path, export={"otlp": {"endpoint": url, "flush_seconds": 0.01} | more})


def ask(at: Any, words: str, reply: str) -> str:
    headers = (("x-api-key", KEY),)
    body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": words}]}
    answer = anthropic_reply(text(reply))
    return str(at.call("/v1/messages", body, answer, host="api.anthropic.com", headers=headers)[0])


@pytest.mark.parametrize("kept", ["full", "redacted", "none"])
@pytest.mark.parametrize("content", [False, True])
def test_a_call_is_told_when_it_has_ended_as_it_is_on_record(
    tmp_path: Path, collector: Collector, content: bool, kept: str
) -> None:
    path = tmp_path / "traces.db"
    told = {"endpoint": collector.url, "flush_seconds": 0.01, "content": content}
    with office(path, export={"otlp": told}, record={"content": kept}) as at:
        ask(at, f"Name a river; my key is {KEY}.", "The Danube.")
        ask(at, "Name a hill.", "The Bussen.")
    spans = list(collector.spans)
    collector.spans.clear()
    later = sent(path, collector, *(["--content"] * content))

    assert [span.id for span in spans] == [span.id for span in later]
    if kept != "none":  # then the record has messages of no words, and the spans have none
        assert spans == later
    assert len(spans) == 4
    assert KEY not in json.dumps(spans)
    assert ("Danube" in json.dumps(spans)) is (content and kept != "none")


SECRET = "4111 1111 1111 1111"


@pytest.mark.parametrize("kept", ["redacted", "none"])
def test_nothing_is_told_that_must_not_be_written_down(
    tmp_path: Path, collector: Collector, kept: str
) -> None:
    for content in (False, True):
        told = {"endpoint": collector.url, "flush_seconds": 0.01, "content": content}
        path = tmp_path / f"{content}.db"
        with office(path, export={"otlp": told}, record={"content": kept}) as at:
            prompt = f"You are a keeper of {SECRET} and of nothing else."
            body = {"model": "m", "system": prompt, "stop_sequences": [SECRET],
                    "messages": [{"role": "user", "content": f"Is it {SECRET}?"}]}  # fmt: skip
            wish = {"type": "tool_use", "id": "t", "name": "ask", "input": {"a": SECRET}}
            at.call("/v1/messages", body, anthropic_reply(text(f"Yes, {SECRET}."), wish))

    said = json.dumps([[span.name, span.attributes] for span in collector.spans])
    assert len(collector.spans) == 4
    assert SECRET not in said
    assert "4111" not in said


def test_a_session_is_told_once_when_it_begins(tmp_path: Path, collector: Collector) -> None:
    headers = (("x-callerid-session-id", "ticket-4711"),)
    with live(tmp_path / "traces.db", collector.url) as at:
        for words in ("one", "two"):
            body = {"model": "m", "messages": [{"role": "user", "content": words}]}
            at.call("/v1/messages", body, anthropic_reply(text("Yes.")), headers=headers)

    assert [span.kind for span in collector.spans] == [INTERNAL, CLIENT, CLIENT]
    assert {span.parent for span in collector.spans[1:]} == {collector.spans[0].id}


class Slow:
    """A collector that takes nothing until it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.taken: list[Span] = []

    def send(self, batch: list[Span]) -> bool:
        self.may.wait(20)
        self.taken += batch
        return True

    def close(self) -> None:
        pass


def entry(number: int, size: int = 0) -> Entry:
    request = Request("POST", "https", "llm.example", 443, "/v1/messages", (), b"", Client())
    asked = call(Dialect.ANTHROPIC, HELLO)
    return Entry(
        f"call_{number}", request, asked, None, "", (), Timing(1.0, None, 2.0), size, State.OK
    )


@pytest.mark.parametrize(
    ("settings", "size"),
    [({"queue_size": 3}, 0), ({"queue_bytes": 300, "content": True}, 100)],
)
def test_a_collector_that_is_slow_costs_spans_and_no_time(
    settings: dict[str, Any], size: int
) -> None:
    guard, slow = Guard(), Slow()
    chosen = OtlpSettings(endpoint="http://x", flush_seconds=0.01, **settings)
    export = LiveExport(chosen, Prices(load().prices), guard, lambda: slow)

    began = time.monotonic()
    for number in range(200):
        export.put(entry(number, size), begins_session=False)
    took = time.monotonic() - began
    slow.may.set()
    export.close(10.0)

    assert took < 1.0
    assert guard.counts["export_dropped"] + export.sent == 200
    assert guard.counts["export_dropped"] >= 50
    assert len(slow.taken) == export.sent > 0


def test_without_content_nothing_that_was_said_waits() -> None:
    slow = Slow()
    settings = OtlpSettings(endpoint="http://x", flush_seconds=0.01)
    export = LiveExport(settings, Prices(load().prices), Guard(), lambda: slow)
    for number in range(2):
        export.put(entry(number), begins_session=False)
    waiting = [one for one in list(export._queue.queue) if one is not None]
    slow.may.set()
    export.close(10.0)

    assert all(one.entry.call.messages == () for one in waiting)


def test_a_collector_that_is_not_there_costs_nothing_else(tmp_path: Path) -> None:
    with Collector() as gone:
        url = gone.url
    configuration = load()
    otlp_settings = OtlpSettings(endpoint=url, flush_seconds=0.01, timeout_seconds=0.2)
    settings = msgspec.structs.replace(
        configuration.settings,
        export=ExportSettings(otlp_settings),
        admin=msgspec.structs.replace(configuration.settings.admin, enabled=False),
    )
    guard = Guard()
    setup = Setup(
        msgspec.structs.replace(configuration, settings=settings), tmp_path / "traces.db", guard
    )
    exporter = setup._exporter
    assert exporter is not None
    exporter.put(entry(1), begins_session=False)
    setup.close()

    assert guard.counts["export_failed"] == 1
    assert exporter.sent == 0


def test_nothing_but_we_tells_of_a_collector_that_is_not_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = otlp.Sender("http://127.0.0.1:1", {}, 0.2)

    assert not sender.send([span(1)])
    assert caplog.records == []


def test_a_collector_that_was_never_there_is_said_at_the_end_too() -> None:
    begun, guard = threading.Event(), Guard()

    class Dead:
        def send(self, batch: list[Any]) -> bool:
            begun.set()
            return never.wait(10)

        def close(self) -> None: ...

    never = threading.Event()
    settings = OtlpSettings(endpoint="http://gone", flush_seconds=0.001)
    exporter = LiveExport(settings, Prices(load().prices), guard, Dead)
    exporter.put(entry(1), begins_session=False)
    assert begun.wait(10)
    waiting = exporter.waiting
    exporter.close(0.05)
    never.set()

    assert waiting == 1
    assert guard.counts == {"export_dropped": 1}


def test_without_opentelemetry_the_setting_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callerid.exports.otlp.find_spec", lambda _: None)

    with (
        pytest.raises(BadSetting, match=r"pip install 'callerid\[otlp\]'"),
        live(tmp_path / "traces.db", "http://localhost:4318"),
    ):
        pass


def test_the_headers_are_on_no_page() -> None:
    otlp_settings = OtlpSettings(headers={"authorization": KEY})
    settings = msgspec.structs.replace(load().settings, export=ExportSettings(otlp_settings))
    pages = Pages(settings, Numbers({}), lambda: (0, 0, 0), lambda: pytest.fail("asked"))
    page = json.loads(pages.answer(Asked("/config", "127.0.0.1:8082")).body)

    assert page["export"]["otlp"]["headers"] == {"authorization": "***"}


def trusting(proxy: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=proxy.ca_file)


def test_through_a_real_mitmdump_spans_come_while_it_runs(
    tmp_path: Path, collector: Collector
) -> None:
    config = tmp_path / "callerid.yaml"
    chosen = {"endpoint": collector.url, "flush_seconds": 0.05}
    config.write_text(json.dumps({"export": {"otlp": chosen}, "admin": {"enabled": False}}))
    with (
        FakeProvider() as provider,
        Proxy(ADDON, provider=provider, options={"callerid_config": str(config)}) as proxy,
        httpx.Client(proxy=proxy.url, verify=trusting(proxy)) as client,
    ):
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "Hello"}]}
        url = "https://api.openai.com/v1/chat/completions"
        answer = client.post(url, json=body, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200
        until = time.monotonic() + 10
        while len(collector.spans) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        session = answer.headers["x-callerid-session-id"]

    first, call_span = collector.spans
    assert call_span.name == "chat gpt-5.5"
    assert call_span.parent == first.id
    assert call_span.attributes["gen_ai.conversation.id"] == session
