"""What a reply says of itself is on record, without secrets, and goes the ways that calls go."""

from __future__ import annotations

import json
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from callerid.commands.cli import cli
from callerid.explorer.app import Explorer
from callerid.operators.access import Access
from callerid.operators.server import app_of
from callerid.settings.values import AdminSettings
from lab import FakeProvider, Proxy
from office import anthropic_reply, office, text

KEY = "sk-ant-api03-aVerySecretKeyOfSomebody"
PHONE = "4111 1111 1111 1111"  # a card, by its check digit
BACK = (
    ("request-id", "req_011CV"),
    ("anthropic-ratelimit-tokens-remaining", "79000"),
    ("set-cookie", "session=abc; Path=/"),
    ("x-echo", f"you said {KEY}"),
    ("x-card", PHONE),
)
SEEN = [
    ["content-type", "application/json"],
    ["request-id", "req_011CV"],
    ["anthropic-ratelimit-tokens-remaining", "79000"],
    ["set-cookie", "***"],
    ["x-echo", "you said ***"],
]


def recorded(path: Path, **settings: Any) -> str:
    body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hello"}]}
    with office(path, **settings) as at:
        headers = (("x-api-key", KEY),)
        reply = anthropic_reply(text("Hi."))
        return at.call("/v1/messages", body, reply, headers=headers, back=BACK)[0]


def on_record(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as database:
        (written,) = database.execute("select reply_headers from calls").fetchone()
    return json.loads(written)


def test_they_are_on_record_and_no_secret_is(tmp_path: Path) -> None:
    recorded(tmp_path / "traces.db")

    assert on_record(tmp_path / "traces.db") == [*SEEN, ["x-card", PHONE]]


def test_a_real_proxy_records_what_the_provider_sent_and_nothing_of_ours(
    addon_script: Path,
) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    with FakeProvider() as provider, Proxy(addon_script, provider=provider) as proxy:
        with httpx.Client(
            proxy=proxy.url,
            verify=ssl.create_default_context(cafile=proxy.ca_file),
            trust_env=False,
        ) as client:
            answer = client.post("https://api.anthropic.com/v1/messages", json=body)
        proxy.stop()
        headers = dict(on_record(proxy.traces))

    assert headers["request-id"] == answer.headers["request-id"]
    assert "x-callerid-session-id" in answer.headers
    assert "x-callerid-session-id" not in headers


@pytest.mark.parametrize("content", ["redacted", "none"])
def test_what_is_masked_in_texts_is_masked_in_them_too(tmp_path: Path, content: str) -> None:
    recorded(tmp_path / "traces.db", record={"content": content})

    assert on_record(tmp_path / "traces.db") == [*SEEN, ["x-card", "***"]]


@pytest.mark.parametrize("name", ["jsonl", "har"])
def test_they_come_back_as_they_went_out(tmp_path: Path, name: str) -> None:
    path, out, again = (tmp_path / each for each in ("traces.db", f"out.{name}", "again.db"))
    recorded(path)

    for words in (
        ["export", "--format", name, "-o", str(out), "--db", str(path)],
        ["import", str(out), "--db", str(again)],
    ):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output

    assert on_record(again) == on_record(path)


def test_a_call_shows_them(tmp_path: Path) -> None:
    id = recorded(tmp_path / "traces.db")
    app = app_of(Access(AdminSettings()), None, Explorer(tmp_path / "traces.db"))

    page = app.test_client().get(f"/call?id={id}", headers={"host": "127.0.0.1"}).text

    assert "<th>request-id</th><td>req_011CV</td>" in page
    assert "<th>set-cookie</th><td>***</td>" in page
    assert KEY not in page


def test_a_call_that_nobody_answered_has_none(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    recorded(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update calls set reply_headers = null")  # as in an older file
        (id,) = database.execute("select id from calls").fetchone()
    app = app_of(Access(AdminSettings()), None, Explorer(path))

    page = app.test_client().get(f"/call?id={id}", headers={"host": "127.0.0.1"})

    assert page.status_code == 200
    assert "<h3>Reply</h3>" not in page.text
