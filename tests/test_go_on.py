"""`callerid continue`, `fork` and `replay`, on the demo's traces, through a real mitmdump."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from callerid.archive.compare import compare
from callerid.commands import launch
from callerid.commands.cli import cli
from callerid.commands.replay import UNSAID_KEY
from callerid.traces.database import open_database
from lab import Answer, Asked, FakeProvider, Proxy, ToolCall, chats, demo, newest_text

KEY = "sk-other-0123456789abcdef"  # not the one that the demo's agents have
CALLERID = [sys.executable, "-c", "from callerid.commands.cli import main; main()"]
KEYS = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"), KEY)


def model(asked: Asked) -> Answer:
    """Another model than the demo's: it says other things, and wants a tool to be run."""
    text = newest_text(asked)
    if text.startswith("Refuse"):
        return Answer("The lab refuses this.", status=400)
    if text.startswith("Delegate"):
        return Answer("I will.", (ToolCall("delegate", {"task": "look \x1b[31m again"}),))
    return Answer(f"Newly said about: {text}")


class Place(NamedTuple):
    """Traces of the demo that may be written on, and a proxy that does."""

    db: Path
    proxy: Proxy
    provider: FakeProvider

    def rows(self, query: str, *words: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.db)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, words)]

    def session(self, agent: str) -> str:
        query = (
            "select sessions.id from sessions join agents on agents.id = agent_id"
            " where name = ? and relation is null order by sessions.id limit 1"
        )
        return str(self.rows(query, agent)[0]["id"])

    def row(self, query: str, *words: str) -> dict[str, Any]:
        """The one row that there is, as soon as it is there."""
        gate = threading.Event()
        for _ in range(100):
            if found := self.rows(query, *words):
                assert len(found) == 1
                return found[0]
            gate.wait(0.1)
        raise AssertionError(f"there is no row: {query} {words}")

    def calls(self, session_id: str, least: int) -> list[dict[str, Any]]:
        """The calls of a session, as soon as so many have ended and are on record."""
        gate = threading.Event()
        query = "select * from calls where session_id = ? and state != 'in_flight' order by id"
        for _ in range(100):
            if len(found := self.rows(query, session_id)) >= least:
                return found
            gate.wait(0.1)
        raise AssertionError(f"{session_id} has not {least} calls")

    def run(self, *words: str, yes: bool = True, **env: str) -> Result:
        where = ["--db", str(self.db), "--proxy", self.proxy.url]
        ours = {"SSL_CERT_FILE": str(self.proxy.ca_file), **KEYS, **env}
        agreed = ["--yes"] * yes
        return CliRunner().invoke(cli, [*words, *where, *agreed], env=ours)


@pytest.fixture(scope="module")
def demo_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "traces.db"
    assert demo.play(path, Console(quiet=True), keeps=False) == 0
    return path


@pytest.fixture(scope="module")
def place(
    demo_traces: Path, tmp_path_factory: pytest.TempPathFactory, addon_script: Path
) -> Iterator[Place]:
    db = tmp_path_factory.mktemp("go-on") / "traces.db"
    with closing(sqlite3.connect(demo_traces)) as there, closing(sqlite3.connect(db)) as here:
        there.backup(here)
    with (
        FakeProvider(model) as provider,
        Proxy(addon_script, provider=provider, options={"callerid_db": str(db)}) as proxy,
    ):
        yield Place(db, proxy, provider)


AGENTS = ("tide-researcher", "patient-tutor-of-words")


@pytest.mark.parametrize("agent", AGENTS)
def test_a_session_goes_on_as_its_agent_would_have(place: Place, agent: str) -> None:
    session = place.session(agent)
    before = place.calls(session, 3)

    result = place.run("continue", session[:20], "And on Sunday?")

    assert result.exit_code == 0, result.output
    assert result.stdout == "Newly said about: And on Sunday?\n"
    assert "→" in result.stderr
    assert f"on record in {session}" in result.stderr
    after = place.calls(session, 4)
    assert len(after) == len(before) + 1
    new = after[-1]
    assert (new["state"], new["because"], new["is_stream"]) == ("ok", "header", 1)
    for column in ("agent_id", "dialect", "request_model", "system_message_id"):
        assert new[column] == before[-1][column]
    transcript = place.rows("select role, text from conversation where session_id = ?", session)
    assert [row["text"] for row in transcript][-2:] == [
        "And on Sunday?", "Newly said about: And on Sunday?",
    ]  # fmt: skip
    with closing(open_database(place.db)) as database:
        compared = compare(database, before[-1]["id"], new["id"])
    assert compared.first_difference == ""  # a cache can serve all that was said before
    assert compared.messages[1] == compared.messages[0] + 2


def test_an_id_that_is_not_random_is_another_keys_with_another_key(place: Place) -> None:
    result = place.run("continue", "ticket-4711", "Hello?")

    assert result.exit_code == 0, result.output
    assert "not in ticket-4711: that is another key's" in result.stderr


def test_a_fork_leaves_the_session_as_it_was(place: Place) -> None:
    session = place.session("tide-researcher")
    before = place.rows("select count(*) as n from calls where session_id = ?", session)

    result = place.run("fork", session, "No, at Brest.", "--at", "2")

    assert result.exit_code == 0, result.output
    assert result.stdout == "Newly said about: No, at Brest.\n"
    fork = place.row(
        "select * from sessions where parent_session_id = ? and relation = 'fork'", session
    )
    place.calls(fork["id"], 1)
    said = place.rows("select role, text from conversation where session_id = ?", fork["id"])
    texts = [row["text"] for row in said]
    assert texts[0] == "What is the highest tide of the year at Saint-Malo?"
    assert texts[-1] == "Newly said about: No, at Brest."
    assert fork["root_session_id"] == session
    assert "left at message 2 of call_" in fork["evidence"]
    assert place.rows("select count(*) as n from calls where session_id = ?", session) == before
    sent = place.provider.asked[-1].json
    answered = sent["messages"][-1]["content"][0]  # the tool call that was left open
    assert (answered["type"], "not run" in answered["content"]) == ("tool_result", True)


def test_a_fork_from_a_call_goes_on_from_its_reply(place: Place) -> None:
    session = place.session("patient-tutor-of-words")
    first = place.calls(session, 3)[0]

    result = place.run("fork", first["id"], "Another one.")

    assert result.exit_code == 0, result.output
    fork = place.row(
        "select * from sessions where parent_session_id = ? and evidence like ?",
        session, f"%left at {first['id']}",
    )  # fmt: skip
    place.calls(fork["id"], 1)
    contents = place.provider.asked[-1].json["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[-1]["parts"] == [{"text": "Another one."}]


def test_a_fork_with_the_agents_own_key_is_no_part_of_the_session(place: Place) -> None:
    """Its history goes on from where the session stands, and is still another one."""
    session = place.session("patient-tutor-of-words")
    before = place.rows("select id from calls where session_id = ?", session)

    result = place.run("fork", session, "And another?", GEMINI_API_KEY=chats.KEY)

    assert result.exit_code == 0, result.output
    recorded = result.stderr.split("on record in ")[1].split()[0]
    assert recorded != session
    assert [call["because"] for call in place.calls(recorded, 1)] == ["header"]
    assert place.rows("select id from calls where session_id = ?", session) == before


def test_a_tool_call_is_shown_and_cannot_command_the_terminal(place: Place) -> None:
    session = place.session("tide-researcher")

    result = place.run("fork", session, "Delegate this")

    assert "▸ delegate" in result.stdout
    assert "(shown, not run)" in result.stdout
    assert "\x1b" not in result.stdout


def test_what_a_provider_refuses_is_said(place: Place) -> None:
    result = place.run("fork", place.session("tide-researcher"), "Refuse this")

    assert result.exit_code == 1
    assert "the provider says 400: The lab refuses this." in result.stderr


def test_nothing_is_sent_before_it_was_agreed_to(place: Place) -> None:
    sent = len(place.provider.asked)

    result = place.run("continue", place.session("tide-researcher"), "Hello", yes=False)

    assert result.exit_code == 1
    assert "claude-sonnet-4-6 at api.anthropic.com: about 15" in result.stderr
    assert "→ 30 tokens · $0.0009 (list price, nothing cached)" in result.stderr
    assert "Send? [y/N]" in result.stderr
    assert len(place.provider.asked) == sent


@pytest.mark.parametrize(
    ("agent", "key"), [*zip(AGENTS, ("x-api-key: ", "x-goog-api-key: "), strict=True)]
)
def test_a_dry_run_is_a_curl_command_without_the_key(
    place: Place, agent: str, key: str, tmp_path: Path
) -> None:
    sent = len(place.provider.asked)
    session = place.session(agent)
    command = place.run("continue", session, 'it\'s "so"', "--dry-run").stdout

    assert f'{key}\'"$API_KEY"' in command
    assert KEY not in command
    assert f"-H 'x-callerid-session-id: {session}'" in command
    assert len(place.provider.asked) == sent
    curl = shutil.which("curl")
    assert curl is not None
    run = subprocess.run(
        ["sh", "-c", command.replace("curl ", f"{curl} -sS --proxy {place.proxy.url} "
                                     f"--cacert {place.proxy.ca_file} ", 1)],
        env=os.environ | {"API_KEY": KEY}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Newly" in run.stdout
    asked = place.provider.asked[-1]
    assert newest_text(asked) == 'it\'s "so"'
    assert asked.header(key.strip(": ")) == KEY


def test_a_body_that_is_too_long_for_a_command_line_is_a_file(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    session = place.session("tide-researcher")

    result = place.run("continue", session, "x" * 200_000, "--dry-run", "--body", str(file))

    assert f"--data-binary @{file}" in result.stdout
    assert json.loads(file.read_bytes())["messages"][-1]["content"] == "x" * 200_000


@pytest.mark.parametrize("agent", [*AGENTS, "support-agent"])
def test_a_replay_sends_the_same_calls_and_shows_what_changed(place: Place, agent: str) -> None:
    session = place.session(agent)
    calls = place.calls(session, 3)[:3]
    sent = len(place.provider.asked)

    result = place.run("replay", session, "--from", calls[0]["id"], OPENAI_API_KEY=chats.KEY)

    assert result.exit_code == 0, result.output
    assert "first byte" in result.stdout
    assert "+Newly said about: " in result.stdout
    assert "tokens" in result.stdout
    child = place.row(
        "select * from sessions where parent_session_id = ? and evidence like ?",
        session,
        "%left at the request of%",
    )
    new = place.calls(child["id"], len(place.provider.asked) - sent)
    assert child["relation"] == "fork"
    assert f"on record in {child['id']}" in result.stderr
    assert [call["request_bytes"] for call in new][:3] == [call["request_bytes"] for call in calls]


def test_a_replay_asks_another_model(place: Place) -> None:
    session = place.session("patient-tutor-of-words")

    result = place.run("replay", session, "--model", "gemini-2.5-pro", "--dry-run")

    assert result.stdout.count("/models/gemini-2.5-pro:streamGenerateContent") >= 3


def test_a_replay_at_another_provider_is_told_in_its_words(place: Place) -> None:
    session = place.session("tide-researcher")
    sent = len(place.provider.asked)

    result = place.run("replay", session, "--provider", "gemini", "--model", "gemini-2.5-flash")

    assert result.exit_code == 0, result.output
    assert "told in the words of gcp.gemini (anthropic → gemini)" in result.stderr
    asked = place.provider.asked[sent]
    assert ":streamGenerateContent" in asked.path
    assert asked.json["generationConfig"]["maxOutputTokens"] == 1000
    assert "You are a tide researcher" in json.dumps(asked.json["systemInstruction"])
    assert "delegate" in json.dumps(asked.json["tools"])
    last = place.provider.asked[sent + 1].json["contents"]
    assert "functionCall" in json.dumps(last)
    assert "functionResponse" in json.dumps(last)


@pytest.mark.parametrize(
    ("provider", "model", "header"),
    [
        ("gemini", "gemini-2.5-flash", "x-goog-api-key: "),
        ("openai", "gpt-5.5", "authorization: Bearer "),
    ],
)
def test_a_dry_run_at_another_provider_is_a_curl_command_in_its_words(
    place: Place, provider: str, model: str, header: str
) -> None:
    session = place.session("tide-researcher")
    sent = len(place.provider.asked)
    words = ("replay", session, "--provider", provider, "--model", model, "--dry-run")

    result = place.run(*words)

    assert result.exit_code == 0, result.output
    assert len(place.provider.asked) == sent
    assert result.stdout.count("# call_") == result.stdout.count("curl -X POST") >= 3
    assert UNSAID_KEY not in result.stdout
    first = shlex.split(result.stdout.split("curl -X POST")[1].partition("\n# ")[0])
    headers = [first[at + 1].lower() for at, word in enumerate(first) if word == "-H"]
    assert f"{header}$API_KEY".lower() in headers
    body = json.loads(first[first.index("--data-binary") + 1])
    assert "You are a tide researcher" in json.dumps(body)
    assert "What is the highest tide of the year" in json.dumps(body)
    (declared,) = {head for head in headers if head.startswith("x-callerid-forked-session-id")}
    assert declared.endswith(session)


def test_a_replay_at_a_provider_of_the_same_dialect_is_the_same_bytes(place: Place) -> None:
    with FakeProvider(model, tls=False) as local:
        result = place.run(
            "replay", place.session("support-agent"), "--provider", "mine",
            "--base-url", f"{local.url}/v1", "--model", "llama",
        )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert [asked.path for asked in local.asked][:3] == ["/v1/chat/completions"] * 3
    assert {asked.json["model"] for asked in local.asked} == {"llama"}
    assert not any(asked.header("authorization").endswith(KEY) for asked in local.asked)


def test_without_a_key_it_says_which_is_missing(place: Place) -> None:
    result = place.run("continue", place.session("tide-researcher"), "Hello", ANTHROPIC_API_KEY="")

    assert result.exit_code == 1
    assert "there is no key for anthropic: set ANTHROPIC_API_KEY" in result.stderr


def test_no_key_is_on_record(place: Place) -> None:
    assert KEY.encode() not in place.db.read_bytes()


@pytest.mark.parametrize("how", ["setting", "HTTPS_PROXY", "https_proxy", "running"])
def test_a_proxy_is_found_where_it_is_named_or_runs(
    how: str, demo_traces: Path, tmp_path: Path, addon_script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "traces.db"
    shutil.copy(demo_traces, db)
    config, admin = tmp_path / "settings.yaml", launch.free_port()
    config.write_text(f"admin: {{port: {admin}}}\n")
    options = {"callerid_db": str(db), "callerid_config": str(config)}
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {**KEYS, "HTTPS_PROXY": "", "https_proxy": ""}.items():
        monkeypatch.setenv(name, value)
    with (
        FakeProvider(model) as provider,
        Proxy(addon_script, provider=provider, options=options) as at,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(at.ca_file))
        if how == "setting":
            config.write_text(f"client: {{proxy: {at.url}}}\n")
        elif how == "running":
            monkeypatch.setattr(launch, "PORT", at.port)
        else:
            monkeypatch.setenv(how, at.url)
        words = ["continue", "ticket-4711", "Hello?", "--yes", "--db", str(db)]

        result = CliRunner().invoke(cli, [*words, "--config", str(config)])

    assert result.exit_code == 0, result.output
    assert result.stdout == "Newly said about: Hello?\n"
    assert len(provider.asked) == 1


def test_without_a_proxy_one_is_started_for_as_long_as_it_takes(
    tmp_path: Path, demo_traces: Path
) -> None:
    db = tmp_path / "traces.db"
    with closing(sqlite3.connect(demo_traces)) as there, closing(sqlite3.connect(db)) as here:
        there.backup(here)
    with FakeProvider(model) as provider:
        options = [
            *("--set", "connection_strategy=lazy"),
            *("--set", f"map_remote=|^https://api.openai.com/|{provider.url}/"),
            *("--set", f"ssl_verify_upstream_trusted_ca={provider.ca_file}"),
        ]
        gone = {"HTTPS_PROXY": "", "https_proxy": ""}
        result = subprocess.run(
            [*CALLERID, "continue", "ticket-4711", "Hello?", "--yes", "--db", str(db), *options],
            env=os.environ | KEYS | gone | {"HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert result.stdout == "Newly said about: Hello?\n", result.stderr
    assert "on record in ticket-4711" in result.stderr
    with closing(sqlite3.connect(db)) as database:
        query = "select count(*), max(session_id) from calls where session_id like 'ticket%'"
        assert database.execute(query).fetchone() == (4, "ticket-4711")
