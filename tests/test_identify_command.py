"""`callerid identify` and `callerid explain`, on every kind of file that they read."""

from __future__ import annotations

import gzip
import inspect
import json
import lzma
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
from sqlite_utils import Database

from callerid.commands.cli import cli
from callerid.identity import explain
from callerid.identity.identify import identify
from lab import FakeProvider, Proxy

QUESTIONS = ("Name a river", "How long is it?", "And how deep?")
ANSWERS = ("The Danube flows east.", "It is 2850 kilometres long.", "Up to eight metres.")


def conversation(name: str, t: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    """A chat of three turns, as lines of a recording."""
    lines, messages = [], []
    for at, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        messages.append({"role": "user", "content": question})
        line = {
            "id": f"{name}{at}",
            "t": t + 10 * at,
            "t_response": t + 10 * at + 5,
            "provider": "openai-chat",
            "request": {"model": "m", "messages": list(messages)},
            "response": {"choices": [{"message": {"role": "assistant", "content": answer}}]},
        }
        lines.append(line | more)
        messages.append({"role": "assistant", "content": answer})
    return lines


def as_json_lines(lines: list[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def identified(source: Path, *options: object) -> list[dict[str, Any]]:
    """What `identify` writes about a file that it can read."""
    output = source.with_name("out.jsonl")
    result = run("identify", source, "-o", output, *options)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_recorded_conversation_is_one_session(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(as_json_lines(conversation("a")))

    first, second, third = identified(source)

    assert {first["session_id"], second["session_id"], third["session_id"]} == {first["session_id"]}
    assert [line["because"] for line in (first, second, third)] == ["new", "history", "history"]
    assert set(first) == {
        "id", "session_id", "parent_session_id", "root_session_id", "relation", "agent_id",
        "kind", "because", "confidence", "evidence",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pack"),
    [("in.jsonl", bytes), ("in.jsonl.gz", gzip.compress), ("in.jsonl.xz", lzma.compress)],
)
def test_recordings_may_be_packed(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    source = tmp_path / name
    source.write_bytes(pack(as_json_lines(conversation("a"))))

    assert [line["id"] for line in identified(source)] == ["a0", "a1", "a2"]


def test_a_reply_is_known_only_once_its_time_has_come(tmp_path: Path) -> None:
    early, late = conversation("a"), conversation("b", t=0.5)
    for line in late[:1]:
        line["t_response"] = 1000.0
    source = tmp_path / "in.jsonl"
    source.write_bytes(as_json_lines(early + late))

    found = {line["id"]: line for line in identified(source)}

    assert found["a1"]["because"] == "history"
    assert found["a0"]["session_id"] != found["b0"]["session_id"]
    # b0's reply came after b1: what b1 repeats is, for all that was known, the reply to a0
    assert found["b1"]["session_id"] == found["a0"]["session_id"]


def test_the_same_input_has_the_same_ids(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(as_json_lines(conversation("a")))

    assert identified(source) == identified(source)


def test_a_reply_may_be_the_text_of_a_stream(tmp_path: Path) -> None:
    lines = conversation("a")
    for line in lines:
        said = line["response"]["choices"][0]["message"]["content"]
        chunk = {"choices": [{"delta": {"role": "assistant", "content": said}}]}
        line["response"] = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    source = tmp_path / "in.jsonl"
    source.write_bytes(as_json_lines(lines))

    assert [line["because"] for line in identified(source)] == ["new", "history", "history"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"not json", "expected JSON"),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"t": 1}', "request: expected an object, got NoneType"),
        (b'{"t": "now", "request": {}, "provider": "anthropic"}', "t: expected a number of"),
        (b'{"t": 1, "request": {}, "provider": "nobody"}', "expected url, or provider as one of"),
        (b'{"t": 1, "request": {}, "provider": "gemini", "status": "ok"}', "status: expected"),
        (b'{"t": 1, "request": {}, "provider": "gemini", "headers": 1}', "headers: expected"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_skipped_and_counted(
    tmp_path: Path, line: bytes, complaint: str
) -> None:
    first, second, third = conversation("a")
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [as_json_lines([first]), line + b"\n", as_json_lines([second, third])]
    source.write_bytes(b"".join(lines))

    result = run("identify", source, "-o", output)

    assert result.exit_code == 1
    assert f"in.jsonl:2: {complaint}" in result.output
    assert "1 line skipped" in result.output
    assert len(output.read_text().splitlines()) == 3


def test_a_file_that_is_nothing_of_the_kind_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"Dear aunt,\nhow are you?\n")

    result = run("identify", source)

    assert result.exit_code == 1
    assert "expected JSON lines, HAR, traces.db or a flow file" in result.output


def test_a_har_is_read(tmp_path: Path) -> None:
    entries = [
        {
            "startedDateTime": f"2026-11-20T10:00:{line['t']:02.0f}.000Z",
            "time": 5000,
            "request": {
                "method": "POST",
                "url": "https://api.openai.com/v1/chat/completions",
                "headers": [{"name": "Authorization", "value": "Bearer k"}],
                "postData": {"text": json.dumps(line["request"])},
            },
            "response": {"status": 200, "content": {"text": json.dumps(line["response"])}},
        }
        for line in conversation("a")
    ]
    picture = {
        "startedDateTime": "2026-11-20T10:00:00Z",
        "request": {"method": "GET", "url": "https://example.com/a.png", "headers": []},
        "response": {"status": 200, "content": {}},
    }
    source = tmp_path / "calls.har"
    source.write_text(json.dumps({"log": {"version": "1.2", "entries": [picture, *entries]}}))

    picture_line, *found = identified(source)

    assert picture_line["session_id"] is None
    assert [line["because"] for line in found] == ["new", "history", "history"]


def test_a_flow_file_is_read(tmp_path: Path) -> None:
    source = tmp_path / "flows"
    with source.open("wb") as file:
        writer = FlowWriter(file)
        for line in conversation("a", t=1000):
            request = http.Request.make(
                "POST", "https://api.openai.com/v1/chat/completions", json.dumps(line["request"])
            )
            request.timestamp_start = line["t"]
            response = http.Response.make(200, gzip.compress(json.dumps(line["response"]).encode()))
            response.headers["content-encoding"] = "gzip"
            response.timestamp_end = line["t_response"]
            request.headers["x-callerid-session-id"] = "sess_ours"
            flow = tflow.tflow(req=request, resp=response)
            flow.metadata["callerid.stamped"] = ["x-callerid-session-id"]  # by the live proxy
            writer.add(flow)

    assert [line["because"] for line in identified(source)] == ["new", "history", "history"]


def test_a_diff_names_the_calls_that_changed_company_not_name(tmp_path: Path) -> None:
    source, old = tmp_path / "in.jsonl", tmp_path / "old.jsonl"
    source.write_bytes(as_json_lines(conversation("a") + conversation("b", t=100)))
    before = [{"id": f"a{n}", "session_id": "first"} for n in range(3)]
    before += [{"id": f"b{n}", "session_id": "second" if n else "first"} for n in range(3)]
    old.write_bytes(as_json_lines(before))

    result = run("identify", source, "--diff", old)

    assert "1 of 6 calls would be in another session" in result.output
    assert "b0: first → sess_" in result.output


@pytest.mark.parametrize("line", [b"import os", b'["a"]', b'{"id": "a0"}'])
def test_what_is_no_earlier_output_is_named(tmp_path: Path, line: bytes) -> None:
    source, old = tmp_path / "in.jsonl", tmp_path / "old.jsonl"
    source.write_bytes(as_json_lines(conversation("a")))
    old.write_bytes(b'{"id": "a0", "session_id": "s"}\n' + line)

    result = run("identify", source, "--diff", old)

    assert result.exit_code == 1
    assert "old.jsonl:2: expected what `identify -o` writes" in result.output


def test_a_file_without_a_call_is_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")

    assert "empty.jsonl: there is no call in it" in run("identify", tmp_path / "empty.jsonl").output


def test_a_wrong_setting_is_not_the_recordings_fault(tmp_path: Path) -> None:
    source, settings = tmp_path / "in.jsonl", tmp_path / "my.yaml"
    source.write_bytes(as_json_lines(conversation("a")))
    settings.write_text("session: {fuzzy_threshold: 1.4}")

    result = run("identify", source, "--config", settings)

    assert result.output.startswith(f"Error: {settings}: session.fuzzy_threshold = 1.4")


@pytest.fixture(scope="module")
def recorded(addon_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A traces.db with one conversation of three turns."""
    path = tmp_path_factory.mktemp("recorded") / "traces.db"
    messages: list[Any] = []
    options: dict[str, str | list[str]] = {"callerid_db": str(path)}
    with (
        FakeProvider(tls=False) as provider,
        Proxy(addon_script, mode=f"reverse:{provider.url}", options=options) as proxy,
        httpx.Client(trust_env=False) as client,
    ):
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            body = {"model": "m", "max_tokens": 9, "messages": messages}
            answer = client.post(f"http://127.0.0.1:{proxy.port}/v1/messages", json=body)
            messages.append({"role": "assistant", "content": answer.json()["content"]})
    return path


def test_what_was_recorded_is_identified_again_the_same(recorded: Path) -> None:
    result = run("identify", recorded)

    assert result.exit_code == 0
    assert "0 of 3 calls would be in another session" in result.output


def test_explain_tells_what_each_rung_looked_at_and_where_it_stopped(recorded: Path) -> None:
    calls = [line["id"] for line in identified(recorded)]

    result = run("explain", calls[1], "--db", recorded)

    assert result.exit_code == 0
    assert "because history 0.99: it goes on from the newest reply of sess_" in result.output
    assert "○ header, body: looked at what the client declares: no session, no run" in result.output
    assert "● history, retry: looked at 3 things said, 1 of them by the model" in result.output
    assert "likeness" not in result.output


def test_explain_takes_the_beginning_of_an_id_or_a_session_and_names_sessions_as_recorded(
    recorded: Path,
) -> None:
    calls = [line["id"] for line in identified(recorded)]
    with closing(Database(recorded)) as database:
        ((session,),) = database.execute("select id from sessions").fetchall()

    by_session = run("explain", session, "--db", recorded)

    assert by_session.output.startswith(f"{calls[-1]} is of {session}\n")
    assert by_session.output.count("sess_") == by_session.output.count(session) > 2
    assert run("explain", calls[1][:-1], "--db", recorded).output.startswith(f"{calls[1]} is of")
    assert run("explain", session[:-1], "--db", recorded).output == by_session.output
    assert "3 calls or sessions begin so" in run("explain", "call_", "--db", recorded).output


def test_explain_says_when_there_is_no_such_call(recorded: Path) -> None:
    result = run("explain", "call_nowhere", "--db", recorded)

    assert result.exit_code == 1
    assert "there is no call and no session call_nowhere" in result.output


def test_tree_draws_what_was_recorded(recorded: Path) -> None:
    result = run("tree", "--db", recorded)

    assert result.exit_code == 0
    assert "1 session · cost unknown\n" in result.output
    assert "3 calls" in result.output
    assert "new 0.90: an opening not heard before" in result.output


def test_tree_says_when_nothing_was_recorded_yet(tmp_path: Path) -> None:
    result = run("tree", "--db", tmp_path / "none.db")

    assert result.exit_code == 1
    assert "none.db: there is no such file; record some calls first" in result.output


def test_the_ladder_that_is_explained_is_the_one_that_is_climbed() -> None:
    climbed = re.findall(
        r"^\s+(?:or )?(\w+)\(question\)$", inspect.getsource(identify), re.MULTILINE
    )

    assert [rung.__name__ for _, rung, _ in explain._RUNGS] == climbed
    assert len(climbed) > 5
