"""What was recorded elsewhere comes into a traces.db, under the sessions it had; twice is once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from callerid import Traces
from callerid.archive import calls
from callerid.archive.calls import CallFacts
from callerid.commands.cli import cli
from callerid.traces import bodies
from callerid.traces.database import open_database
from office import anthropic_reply, office, text
from recorded import KEY, record
from test_identify_command import as_json_lines, conversation


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("import") / "traces.db"
    record(path)
    return path


def run(*words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def imported(target: Path, *sources: object, status: int = 0) -> str:
    """What an import says, without the name of the file."""
    result = run("import", *sources, "--db", target, status=status)
    return result.output.replace(f"{target}: ", "")


def facts(path: Path) -> list[CallFacts]:
    with closing(open_database(path)) as database:
        return list(calls.calls(database))


def contents(path: Path) -> dict[str, tuple[bytes | None, bytes | None]]:
    """The bodies of all calls."""
    with closing(open_database(path)) as database:
        return {
            each.id: (
                bodies.request_body(database, each.id).content,
                bodies.reply_body(database, each.id).content,
            )
            for each in calls.calls(database)
        }


# There and back


@pytest.mark.parametrize("name", ["jsonl", "har"])
def test_what_was_exported_comes_back_as_it_was(recorded: Path, tmp_path: Path, name: str) -> None:
    source, target = tmp_path / f"out.{name}", tmp_path / "again.db"
    run("export", "--format", name, "-o", source, "--db", recorded)

    said = imported(target, source)

    assert said == "8 new calls in 5 sessions; 0 were there, 0 are no LLM calls\n"
    assert facts(target) == facts(recorded)
    assert contents(target) == contents(recorded)
    assert imported(target, source).startswith("0 new calls in 0 sessions; 8 were there")
    assert facts(target) == facts(recorded)


def test_sessions_are_the_same_after_all_ways_around(recorded: Path, tmp_path: Path) -> None:
    run("export", "-o", tmp_path / "a.jsonl", "--db", recorded)
    imported(tmp_path / "b.db", tmp_path / "a.jsonl")
    run("export", "--format", "har", "-o", tmp_path / "b.har", "--db", tmp_path / "b.db")
    imported(tmp_path / "c.db", tmp_path / "b.har")
    run("export", "-o", tmp_path / "c.jsonl", "--db", tmp_path / "c.db")

    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    with Traces(recorded) as before, Traces(tmp_path / "c.db") as after:
        one, other = ([s.to_dict() for s in t.sessions()] for t in (before, after))
    assert one == other


def test_what_we_exported_can_be_identified_anew(recorded: Path, tmp_path: Path) -> None:
    run("export", "-o", tmp_path / "a.jsonl", "--db", recorded)

    run("import", "--anew", tmp_path / "a.jsonl", "--db", tmp_path / "b.db")

    before, after = facts(recorded), facts(tmp_path / "b.db")
    pairs = {(one.session_id, other.session_id) for one, other in zip(before, after, strict=True)}
    assert len(pairs) == 5
    assert [each.because for each in after] == [each.because for each in before]
    assert not {one for one, _ in pairs} & {other for _, other in pairs}


def test_what_was_masked_does_not_count_as_exact_when_it_is_imported(tmp_path: Path) -> None:
    with office(tmp_path / "a.db") as at:
        body = {"model": "m", "messages": [{"role": "user", "content": f"My key is {KEY}."}]}
        headers = (("x-api-key", KEY),)
        at.call("/v1/messages", body, anthropic_reply(text("Keep it.")), headers=headers)
    run("export", "-o", tmp_path / "a.jsonl", "--db", tmp_path / "a.db")

    imported(tmp_path / "b.db", tmp_path / "a.jsonl")

    (one,), (other,) = facts(tmp_path / "a.db"), facts(tmp_path / "b.db")
    assert one.request_exactness == "redacted"
    assert one == other


def test_what_is_not_to_be_written_down_is_not_imported(recorded: Path, tmp_path: Path) -> None:
    config = tmp_path / "callerid.yaml"
    config.write_text("record: {content: none}")
    run("export", "-o", tmp_path / "a.jsonl", "--db", recorded)

    imported(tmp_path / "b.db", tmp_path / "a.jsonl", "--config", config)

    assert len(facts(tmp_path / "b.db")) == 8
    assert [each.session_id for each in facts(tmp_path / "b.db")] == [
        each.session_id for each in facts(recorded)
    ]
    run("export", "-o", tmp_path / "b.jsonl", "--db", tmp_path / "b.db")
    said = (tmp_path / "b.jsonl").read_text()
    assert not any(words in said for words in ("Danube", "highest", "Etoile"))
    chats = run("export", "--format", "openai-chat", "--db", tmp_path / "b.db")
    assert chats.output == ""


def test_a_call_without_the_bytes_of_its_reply_comes_with_its_words(tmp_path: Path) -> None:
    with office(tmp_path / "a.db", record={"reply_bytes": 10}) as at:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        at.call("/v1/messages", body, anthropic_reply(text("Good day, I am well.")))
    run("export", "-o", tmp_path / "a.jsonl", "--db", tmp_path / "a.db")

    imported(tmp_path / "b.db", tmp_path / "a.jsonl")

    assert contents(tmp_path / "b.db") == contents(tmp_path / "a.db")
    (one,), (other,) = facts(tmp_path / "a.db"), facts(tmp_path / "b.db")
    assert (one.input_tokens, one.output_tokens, one.model) == (
        other.input_tokens, other.output_tokens, other.model,
    )  # fmt: skip
    with Traces(tmp_path / "b.db") as traces:
        (session,) = traces.sessions()
        assert session.messages[-1].text == "Good day, I am well."


# Recordings of others


def test_recorded_lines_are_identified_and_written(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    headers = {"x-api-key": KEY}
    source.write_bytes(as_json_lines(conversation("a", headers=headers)))

    said = imported(target, source)

    assert said == "3 new calls in 1 session; 0 were there, 0 are no LLM calls\n"
    assert [each.because for each in facts(target)] == ["new", "history", "history"]
    assert [each.seconds for each in facts(target)] == [5.0, 5.0, 5.0]
    assert KEY.encode() not in target.read_bytes()
    assert imported(target, source).startswith("0 new calls in 0 sessions; 3 were there")


def test_what_comes_later_goes_on_where_the_earlier_ended(tmp_path: Path) -> None:
    first, second, third = conversation("a", t=1000.0)
    early, late = tmp_path / "early.jsonl", tmp_path / "late.jsonl"
    early.write_bytes(as_json_lines([first, second]))
    late.write_bytes(as_json_lines([third]))
    target = tmp_path / "traces.db"
    imported(target, early)

    imported(target, late)

    assert len({each.session_id for each in facts(target)}) == 1
    assert facts(target)[-1].because == "history"


def test_a_recording_that_grew_adds_what_is_new(tmp_path: Path) -> None:
    lines = conversation("a")
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    source.write_bytes(as_json_lines(lines[:2]))
    imported(target, source)
    source.write_bytes(as_json_lines(lines))

    said = imported(target, source)

    assert said.startswith("1 new call in 1 session; 2 were there")
    assert len({each.session_id for each in facts(target)}) == 1


def test_the_same_call_twice_in_a_recording_is_two_calls(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    line = conversation("a")[0]
    source.write_bytes(as_json_lines([line, line]))

    imported(target, source)
    imported(target, source)

    assert len(facts(target)) == 2


def test_failures_are_recorded_as_such(tmp_path: Path) -> None:
    first, second, third = conversation("a")
    first["response"] = {"error": {"message": "no such key", "type": "invalid_request_error"}}
    first["status"] = 401
    second["response"], third["response"] = None, "data: {}\n\n"
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    source.write_bytes(as_json_lines([first, second, third]))

    imported(target, source)

    assert [each.state for each in facts(target)] == ["error", "interrupted", "truncated"]


def test_what_is_no_call_and_what_is_broken_is_said(tmp_path: Path) -> None:
    page = {"id": "p", "t": 1, "url": "https://a.example/page", "request": {"a": 1}}
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    source.write_bytes(as_json_lines([*conversation("a"), page]) + b"half a li")

    result = run("import", source, "--db", target, status=1)

    assert "in.jsonl:5: expected JSON" in result.output
    assert "3 new calls in 1 session; 0 were there, 1 is no LLM call" in result.output


def test_flow_files_are_taken(tmp_path: Path) -> None:
    source, target = tmp_path / "flows", tmp_path / "traces.db"
    with source.open("wb") as file:
        for line in conversation("a"):
            flow = tflow.tflow(resp=True)
            flow.request = http.Request.make(
                "POST", "https://llm.example/v1/chat/completions", json.dumps(line["request"])
            )
            flow.request.timestamp_start = 1000 + line["t"]
            assert flow.response
            flow.response.content = json.dumps(line["response"]).encode()
            flow.response.timestamp_end = 1000 + line["t_response"]
            flow.metadata["callerid.call"] = f"call_{line['id']}"
            FlowWriter(file).add(flow)

    imported(target, source)

    assert [each.id for each in facts(target)] == ["call_a0", "call_a1", "call_a2"]
    assert [each.because for each in facts(target)] == ["new", "history", "history"]


def test_customers_stay_apart(tmp_path: Path) -> None:
    """Two keys, one conversation: history never crosses credentials, imported or not."""
    source, target = tmp_path / "in.jsonl", tmp_path / "traces.db"
    first, second, _ = conversation("a")
    lines = [first | {"headers": {"x-api-key": KEY}}, second | {"headers": {"x-api-key": KEY[1:]}}]
    source.write_bytes(as_json_lines(lines))

    imported(target, source)

    assert len({each.session_id for each in facts(target)}) == 2


# Another traces.db


def test_another_record_is_merged_with_its_ids(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "traces.db"
    with office(target, now=1_780_000_000.0) as at:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        at.call("/v1/messages", body, anthropic_reply(text("Good day.")))
    own = facts(target)

    said = run("import", recorded, "--db", target).output

    assert "8 new calls, 5 new sessions" in said
    assert facts(target) == own + facts(recorded)
    assert contents(target).items() >= contents(recorded).items()
    assert "0 new calls, 0 new sessions" in run("import", recorded, "--db", target).output
    assert "0 new calls, 0 new sessions" in run("import", target, "--db", target).output


def test_a_session_of_two_proxies_is_one_session(tmp_path: Path) -> None:
    for number, name in enumerate(("one.db", "two.db")):
        with office(tmp_path / name, now=1_790_000_000.0 + 100 * number) as at:
            body = {"model": "m", "messages": [{"role": "user", "content": f"Hello {number}"}]}
            headers = (("x-callerid-session-id", "ticket-4711"),)
            at.call("/v1/messages", body, anthropic_reply(text("Good day.")), headers=headers)

    run("import", tmp_path / "two.db", "--db", tmp_path / "one.db")

    with Traces(tmp_path / "one.db") as traces:
        (session,) = traces.sessions()
        assert session.session_id == "ticket-4711"
        assert len(session.calls) == 2
        assert session.metadata["first_seen"] == 1_790_000_000.0
        assert session.metadata["last_seen"] == 1_790_000_101.0


def test_a_call_that_was_under_way_is_merged_again_when_it_has_ended(
    recorded: Path, tmp_path: Path
) -> None:
    other, target = tmp_path / "other.db", tmp_path / "traces.db"
    other.write_bytes(recorded.read_bytes())
    id = facts(other)[2].id
    with closing(open_database(other)) as database, database.conn:
        database.execute("update calls set state = 'in_flight', status = null where id = ?", [id])
    run("import", other, "--db", target)
    assert Counter(each.state for each in facts(target))["in_flight"] == 1

    run("import", recorded, "--db", target)

    assert facts(target) == facts(recorded)


# Agents' own session files


def digest(message: Any) -> str:
    written = json.dumps(message, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return sha256(written.encode()).hexdigest()


def block(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def session_file(folder: Path) -> Path:
    """A session file of two requests, as Claude Code 2.1.329 writes them."""
    opening = {"role": "user", "content": [block("<system-reminder>x</system-reminder>"),
                                           block("Où est le phare?")]}  # fmt: skip
    note = {"role": "system", "content": "Today is Monday."}
    wish = {"type": "tool_use", "id": "t1", "name": "Look", "input": {"at": "quay"}}
    reply = {"role": "assistant", "content": [block("I look."), wish]}
    seen = {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": "A lighthouse."}
    ]}  # fmt: skip
    shape = {"system": [block("You are an agent.")], "tools": [{"name": "Look"}]}
    common = {"sessionId": "11111111-2222-4333-8444-555555555555", "version": "2.1.329"}
    params = {"model": "claude-opus-5-5", "max_tokens": 9, "betas": ["one", "two"]}
    usage = {"input_tokens": 10, "output_tokens": 5}

    def request(id: str, second: int, **more: Any) -> dict[str, Any]:
        at = f"2026-11-21T13:15:{second:02}.000Z"
        made = {"type": "api-request", "id": id, "timestamp": at, "params": params}
        return common | made | {"shapeHash": digest(shape)} | more

    def answer(ref: str, second: int, content: Any, number: int) -> dict[str, Any]:
        at = f"2026-11-21T13:15:{second:02}.000Z"
        message = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "usage": usage,
            "model": "claude-opus-5-5",
            "content": [content],
            "stop_reason": "end_turn",
        }
        told = {"type": "assistant", "requestRef": ref, "timestamp": at, "message": message}
        return common | told  # fmt: skip

    lines = [
        common | {"type": "user", "message": {"role": "user", "content": "Où est le phare?"}},
        common | {"type": "api-request-shape", "shapeHash": digest(shape), "shape": shape},
        common | {"type": "api-request-blob", "hash": digest(opening), "message": opening},
        common | {"type": "api-request-blob", "hash": digest(note), "message": note},
        request("r1", 1, keep=0, tail=[digest(opening), digest(note)],
                cacheControl=[{"path": ["system", 0], "value": {"type": "ephemeral"}}]),
        answer("r1", 2, block("I look."), 1),
        answer("r1", 3, wish, 1),
        common | {"type": "user", "message": seen},
        request("r2", 4, base="r1", keep=2, tail=[digest(reply), digest(seen)]),
        answer("r2", 5, block("There is a lighthouse."), 2),
        request("r3", 6, base="r2", keep=4, tail=["0" * 64]),
    ]  # fmt: skip
    path = folder / "session.jsonl"
    path.write_bytes(as_json_lines(lines) + b'{"type": "ha')
    return path


def test_the_calls_in_a_session_file_are_put_together(tmp_path: Path) -> None:
    source, target = session_file(tmp_path), tmp_path / "traces.db"

    said = imported(target, source, status=1)

    assert "request r3: not all that it was made of is here" in said
    assert "2 new calls in 1 session; 0 were there, 0 are no LLM calls" in said
    first, second = facts(target)
    assert first.session_id == "11111111-2222-4333-8444-555555555555"
    assert (first.client, first.provider_name, first.model) == (
        "claude-code", "anthropic", "claude-opus-5-5",
    )  # fmt: skip
    assert (first.seconds, first.input_tokens, second.output_tokens) == (2.0, 10, 5)
    request, reply = (json.loads(body or b"") for body in contents(target)[second.id])
    assert request["max_tokens"] == 9
    assert request["tools"] == [{"name": "Look"}]
    assert [message["role"] for message in request["messages"]] == [
        "user", "system", "assistant", "user",
    ]  # fmt: skip
    assert reply["content"] == [block("There is a lighthouse.")]
    system = json.loads(contents(target)[first.id][0] or b"")["system"]
    assert system[0]["cache_control"] == {"type": "ephemeral"}
    assert "2 were there" in imported(target, source, status=1)


def test_calls_that_the_proxy_saw_are_not_taken_again_from_a_session_file(tmp_path: Path) -> None:
    target = tmp_path / "traces.db"
    with office(target) as at:
        body = {"model": "m", "messages": [{"role": "user", "content": "Où est le phare?"}]}
        at.call("/v1/messages", body, anthropic_reply(text("I look.")))  # its id is msg_1

    said = imported(target, session_file(tmp_path), status=1)

    assert "1 new call in 1 session; 1 was there" in said


@pytest.mark.parametrize(
    "line",
    [
        {"type": "session_meta", "payload": {"id": "a", "base_instructions": "You are ..."}},
        {"type": "user", "sessionId": "a", "message": {"role": "user", "content": "Hello"}},
    ],
    ids=["Codex", "Claude Code"],
)
def test_a_session_file_without_calls_is_said_to_be_one(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    source = tmp_path / "session.jsonl"
    item = {"type": "response_item", "payload": {"type": "message"}}
    source.write_bytes(as_json_lines([line, item]))

    said = imported(tmp_path / "traces.db", source, status=1)

    assert "session file: it holds 1 messages but no calls" in said
    assert not (tmp_path / "traces.db").exists()


@pytest.mark.parametrize("format", ["jsonl", "har"])
@pytest.mark.parametrize("options", [(), ("--anew",)], ids=["", "anew"])
def test_calls_of_which_no_word_was_kept_are_not_lost(
    tmp_path: Path, format: str, options: tuple[str, ...]
) -> None:
    source, file, target = tmp_path / "a.db", tmp_path / f"a.{format}", tmp_path / "b.db"
    with office(source, record={"content": "none"}) as at:
        said: list[Any] = []
        for number in range(3):
            said.append({"role": "user", "content": f"Question {number}"})
            body = {"model": "m", "messages": said}
            at.call("/v1/messages", body, anthropic_reply(text("Yes.")))
            said.append({"role": "assistant", "content": "Yes."})
        at.call("/v1/messages", body, {"type": "error", "error": {"type": "overloaded_error"}},
                status=529)  # fmt: skip
    run("export", "--format", format, "-o", file, "--db", source)

    first = imported(target, file, *options)
    again = imported(target, file, *options)

    assert first == "4 new calls in 1 session; 0 were there, 0 are no LLM calls\n"
    assert again == "0 new calls in 0 sessions; 4 were there, 0 are no LLM calls\n"
    for one, other in zip(facts(source), facts(target), strict=True):
        assert _plain(other).items() ^ _plain(one).items() == set()


def _plain(each: CallFacts) -> dict[str, Any]:
    without = ("error_message", "members")  # they went with the words
    told = msgspec.structs.asdict(each)
    return {name: value for name, value in told.items() if name not in without}


def test_a_file_that_is_none_of_ours_is_named_once(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("create table notes (text)")

    for words in (("import", other, "--db", tmp_path / "a.db"), ("identify", other)):
        result = run(*words, status=1)
        assert result.output.count("other.db") == 1
        assert "another program" in result.output
