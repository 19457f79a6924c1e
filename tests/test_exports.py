"""What is on record can be had as lines of JSON, HAR, conversations for fine-tuning, and CSV."""

from __future__ import annotations

import csv
import io
import json
import shutil
import stat
import subprocess
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from callerid.archive import calls
from callerid.commands.cli import cli
from callerid.exports.csv import COLUMNS
from callerid.exports.formats import FORMATS
from callerid.exports.spans import Style
from callerid.exports.told import carried, carried_back
from callerid.traces import bodies
from callerid.traces.database import open_database
from callerid.wire import wirejson
from make import QUICK
from office import anthropic_reply, office, text
from recorded import CLERK, ERRAND, KEY, record

JQ = shutil.which("jq")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports") / "traces.db"
    record(path)
    return path


def exported(path: Path, name: str, *words: str) -> bytes:
    output = path.with_name(f"out.{name}")
    command = ["export", "--format", name, "-o", str(output), "--db", str(path), *words]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    return output.read_bytes()


def lines(path: Path, name: str = "jsonl", *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(path, name, *words).splitlines()]


# JSON lines


def test_a_line_has_the_shape_that_people_know(path: Path) -> None:
    first = lines(path)[0]

    assert first["timestamp"] == "2026-09-21T14:13:20.000000Z"
    assert first["session_id"].startswith("sess_")
    assert first["response"]["duration_ms"] == 1000.0
    assert first["response"]["first_byte_ms"] == 500.0
    assert first["request"]["url"] == "https://api.anthropic.com/v1/messages"
    assert first["request"]["body"]["system"] == CLERK
    assert first["response"]["body"]["content"][0]["text"] == "I have it read."
    assert first["callerid"]["because"] == "new"
    assert first["callerid"]["kind"] == "main"


def test_bodies_are_the_bytes_that_passed(path: Path) -> None:
    with closing(open_database(path)) as database:
        for line in exported(path, "jsonl").splitlines():
            entry = wirejson.members(line)
            id = str(wirejson.decode(entry["id"]))
            request = carried_back(wirejson.members(entry["request"]))
            reply = carried_back(wirejson.members(entry["response"]))

            assert request == bodies.request_body(database, id).content
            assert reply == bodies.reply_body(database, id).content
            assert request
            assert reply


def test_a_body_on_several_lines_is_there_as_json_too(path: Path) -> None:
    (entry,) = [line for line in lines(path) if "text" in line["request"]]

    assert entry["request"]["text"].startswith('{\n  "model"')
    assert entry["request"]["body"] == json.loads(entry["request"]["text"])
    (stream,) = [line for line in lines(path) if "text" in line["response"]]
    assert stream["response"]["text"].startswith("data: ")
    assert stream["response"]["messages"][0]["content"] == "The Danube."


@QUICK
@given(
    st.binary(max_size=60)
    | st.text(max_size=30).map(lambda words: json.dumps(words, indent=1).encode())
    | st.sampled_from([b'{"a":\n NaN}', b'"\\ud800"', b"[1,\n2]", b'{"a": "\\ud800",\n"b":1}', b""])
)
def test_any_body_comes_back_as_it_was(body: bytes) -> None:
    line = wirejson.encode(carried(body))

    assert b"\n" not in line
    json.loads(line, parse_constant=pytest.fail)
    assert carried_back(wirejson.members(line)) == body


def test_no_credential_is_in_any_export(path: Path) -> None:
    for name in FORMATS:
        assert KEY.encode() not in exported(path, name)


RECIPES = {
    "all traces of a session": 'grep "$SESSION" traces/*.json | wc -l',
    "requests per session": "jq -r '.session_id' traces/*.json | sort | uniq -c",
    "average response time per session": (
        "jq -r '[.session_id, .response.duration_ms] | @tsv' traces/*.json | awk "
        "'{sum[$1]+=$2; count[$1]++} END {for (s in sum) print s, sum[s]/count[s]}'"
    ),
    "most active sessions": (
        "jq -r '.session_id' traces/*.json | sort | uniq -c | sort -nr | head -10"
    ),
    "session durations": """jq -r '[.session_id, .timestamp] | @tsv' traces/*.json | \
  sort -k1,1 -k2,2 | awk '
    {
      if ($1 != prev_session) {
        if (prev_session) print prev_session, last_time - first_time
        prev_session = $1
        first_time = $2
      }
      last_time = $2
    }
    END { if (prev_session) print prev_session, last_time - first_time }
  '""",
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_of_the_reference_work(path: Path, tmp_path: Path, name: str) -> None:
    if "jq" in RECIPES[name] and JQ is None:
        pytest.skip("jq is not installed")
    output = tmp_path / "traces" / "calls.json"
    command = ["export", "-o", str(output), "--db", str(path)]
    assert CliRunner().invoke(cli, command).exit_code == 0
    entries = [json.loads(line) for line in output.read_text().splitlines()]
    sessions = [entry["session_id"] for entry in entries]
    env = {"PATH": "/usr/bin:/bin", "SESSION": sessions[0], "LC_ALL": "C"}
    done = subprocess.run(
        RECIPES[name], shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )

    said = [line.split() for line in done.stdout.splitlines()]
    counts = {id: sessions.count(id) for id in sessions}
    if name == "all traces of a session":
        assert said == [[str(sum(sessions[0] in json.dumps(entry) for entry in entries))]]
    elif name in ("requests per session", "most active sessions"):
        assert {id: int(count) for count, id in said} == counts
    elif name == "average response time per session":
        assert {id: float(mean) for id, mean in said} == dict.fromkeys(counts, 1000.0)
    else:
        assert {words[0] for words in said} == set(counts)


# HAR


def test_a_har_has_what_the_format_demands(path: Path) -> None:
    log = json.loads(exported(path, "har"))["log"]
    first = log["entries"][0]

    assert (log["version"], log["creator"]["name"], len(log["entries"])) == ("1.2", "callerid", 8)
    assert set(first) >= {"startedDateTime", "time", "request", "response", "cache", "timings"}
    assert set(first["request"]) >= {
        "method", "url", "httpVersion", "cookies", "headers", "queryString", "postData",
        "headersSize", "bodySize",
    }  # fmt: skip
    assert set(first["response"]) >= {
        "status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL",
        "headersSize", "bodySize",
    }  # fmt: skip
    assert first["time"] == sum(first["timings"].values()) == 1000.0
    assert json.loads(first["request"]["postData"]["text"])["system"] == CLERK
    assert [entry["response"]["content"]["mimeType"] for entry in log["entries"][3:5]] == [
        "text/event-stream", "application/json",
    ]  # fmt: skip
    assert log["entries"][-1]["response"]["statusText"] == "Unauthorized"


def test_an_empty_record_is_a_whole_har(tmp_path: Path) -> None:
    open_database(tmp_path / "traces.db").conn.close()

    assert json.loads(exported(tmp_path / "traces.db", "har"))["log"]["entries"] == []


# Conversations


def test_conversations_are_told_in_one_dialect(path: Path) -> None:
    clerk, helper, rivers, harbour = lines(path, "openai-chat")

    assert clerk["messages"] == [
        {"role": "system", "content": CLERK},
        {"role": "user", "content": "When is the highest tide this year?"},
        {"role": "assistant", "content": "I have it read.", "tool_calls": [
            {"id": "t1", "type": "function", "function": {
                "name": "delegate", "arguments": json.dumps({"task": ERRAND}, separators=(",", ":"))
            }}
        ]},
        {"role": "tool", "tool_call_id": "t1", "content": "14.1 m."},
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "On the 30th of March."},
    ]  # fmt: skip
    (tool,) = clerk["tools"]
    assert tool["function"]["name"] == "delegate"
    assert tool["function"]["parameters"]["properties"] == {"task": {"type": "string"}}
    assert [message["role"] for message in helper["messages"]] == ["system", "user", "assistant"]
    assert [message["content"] for message in rivers["messages"]] == [
        "You name rivers.", "Name a river", "The Danube.", "How long is it?", "2,850 km.",
    ]  # fmt: skip
    assert harbour["messages"][2]["tool_calls"][0]["id"] == "call_1"
    assert harbour["messages"][3:5] == [
        {"role": "tool", "tool_call_id": "call_1", "content": '{"ship":"Etoile"}'},
        {"role": "user", "content": "[inlineData]"},
    ]
    assert harbour["tools"][0]["function"]["parameters"] == {"type": "object"}


def test_every_tool_call_is_answered_by_its_id(path: Path) -> None:
    for conversation in lines(path, "openai-chat"):
        wishes = [w["id"] for m in conversation["messages"] for w in m.get("tool_calls", [])]
        answers = [
            m["tool_call_id"] for m in conversation["messages"] if m["role"] == "tool"
        ]  # fmt: skip

        assert answers == wishes


# CSV


def test_a_table_has_a_row_for_each_call(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(path, "csv").decode())))

    assert len(rows) == 8
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["parent_session_id"] == rows[0]["session_id"]
    assert (rows[2]["input_tokens"], rows[2]["cache_read_input_tokens"]) == ("190", "90")
    assert (rows[-1]["state"], rows[-1]["error_type"], rows[-1]["cost_usd"]) == (
        "error", "invalid_request_error", "",
    )  # fmt: skip


# Which calls


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 8),
        (("--agent", "clerk"), 2),
        (("--model", "gemini"), 2),
        (("--status", "failed"), 1),
        (("--since", "2026-09-21T14:13:25+00:00"), 5),
        (("--session", "FIRST"), 2),
        (("--root", "HELPER"), 3),
        (("--agent", "nobody"), 0),
    ],
)
def test_calls_are_chosen(path: Path, words: tuple[str, ...], count: int) -> None:
    first, helper = [line["session_id"] for line in lines(path)[:2]]
    chosen = [{"FIRST": first, "HELPER": helper}.get(word, word) for word in words]

    assert len(lines(path, "jsonl", *chosen)) == count


def test_what_is_written_is_for_its_owner_alone(path: Path) -> None:
    exported(path, "jsonl")

    assert stat.S_IMODE(path.with_name("out.jsonl").stat().st_mode) == 0o600


def test_without_a_file_it_is_printed_and_nothing_else(path: Path) -> None:
    result = CliRunner().invoke(cli, ["export", "--db", str(path)])

    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 8
    assert result.stderr == ""


@pytest.mark.parametrize("words", [("--session", "nobody"), ("--root", "nobody")])
def test_what_is_not_there_is_said(path: Path, words: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["export", "--db", str(path), *words])

    assert result.exit_code == 1
    assert "there is no session 'nobody'" in result.output


def test_an_export_is_never_whole_in_memory(tmp_path: Path) -> None:
    words = "The tide comes in twice a day. " * 2000
    with office(tmp_path / "traces.db") as at:
        for number in range(60):
            said = [{"role": "user", "content": f"{number} {words}"}]
            body = {"model": "m", "messages": said}
            at.call("/v1/messages", body, anthropic_reply(text(f"{number} {words}")))
    with closing(open_database(tmp_path / "traces.db")) as database:
        tracemalloc.start()
        size = sum(map(len, FORMATS["jsonl"].write(database, calls.calls(database), Style())))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert size > 7_000_000
    assert most < size / 4


def test_conversations_are_counted_as_what_they_are(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "chats.jsonl"
    command = ["export", "--format", "openai-chat", "-o", str(output), "--db", str(path)]

    said = CliRunner().invoke(cli, command).stderr

    assert len(output.read_text().splitlines()) == 4
    assert said == f"4 conversations to {output}\n"
