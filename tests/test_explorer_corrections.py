"""Corrections from the explorer's pages: done as the commands do, and by nobody else's pages."""

from __future__ import annotations

import html
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from callerid.archive.sessions import SessionFacts, sessions
from callerid.commands.cli import cli
from callerid.explorer.app import Explorer
from callerid.explorer.record import opened
from callerid.operators.access import Access
from callerid.operators.server import app_of
from callerid.settings.values import AdminSettings
from callerid.traces.database import open_database
from office import anthropic_reply, office, text

TOKEN = "a-token-of-ours"
HOST = "127.0.0.1:8082"
HOSTILE = "<b>&'\" $(id)"


class Place(NamedTuple):
    path: Path
    one: str
    other: str
    calls: list[str]  # of the first session


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A traces.db with two sessions, of three calls and of one."""
    path = tmp_path / "my traces.db"
    said: list[Any] = []
    with office(path) as at:
        calls = []
        for number in range(3):
            said.append({"role": "user", "content": f"Tell me of rivers, part {number}, please."})
            reply = f"Of rivers in part {number}: deep."
            body = {"model": "m", "messages": said}
            id, identity = at.call("/v1/messages", body, anthropic_reply(text(reply)))
            calls.append(id)
            said.append({"role": "assistant", "content": reply})
        body = {"model": "m", "messages": [{"role": "user", "content": "And bridges?"}]}
        _, other = at.call("/v1/messages", body, anthropic_reply(text("Long.")))
    return Place(path, identity.session_id, other.session_id, calls)


class Browser:
    """A browser that was given the token, or none."""

    def __init__(self, path: Path, token: str = TOKEN, *, is_aside: bool = False) -> None:
        admin = msgspec.convert({"token": token}, AdminSettings)
        self.explorer = Explorer(path, is_aside=is_aside)
        self.app = app_of(Access(admin), None, self.explorer)
        self.client: FlaskClient = self.app.test_client()
        if token:
            assert self.get(f"/?token={token}").status_code == 302

    def get(self, address: str) -> TestResponse:
        return self.client.get(address, headers={"host": HOST})

    def carried(self, id: str) -> str:
        """What the forms on a session's page carry."""
        found = re.search(r'name="form" value="([0-9a-f]{64})"', self.get(f"/session?id={id}").text)
        assert found
        return found[1]

    def send(self, headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        said = {"host": HOST, "origin": f"http://{HOST}"} | (headers or {})
        sent = {name: value for name, value in said.items() if value}
        return self.client.post("/correct", data=form, headers=sent)


@pytest.fixture
def browser(place: Place) -> Browser:
    return Browser(place.path)


def on_record(path: Path) -> dict[str, SessionFacts]:
    with closing(open_database(path)) as database:
        return {each.id: each for each in sessions(database)}


def corrections(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [kind for (kind,) in database.execute("select kind from corrections")]


@pytest.fixture(params=[False, True], ids=["here", "aside"])
def either(place: Place, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser whose pages are made here, or in a process of their own."""
    made = Browser(place.path, is_aside=request.param)
    yield made
    made.explorer.close()


def test_a_session_is_renamed_split_linked_and_merged(place: Place, either: Browser) -> None:
    form = either.carried(place.one)

    def done(does: str, **more: str) -> str:
        """Do it; the session whose page comes then."""
        answer = either.send(form=form, do=does, session=place.one, **more)
        assert answer.status_code == 303, answer.text
        page = either.get(answer.location)
        assert 'role="status"' in page.text
        found = re.search(r'<p class="id"><code>(.*?)</code>', page.text)
        assert found
        return found[1]

    assert done("rename", name=f"Rivers {HOSTILE}") == place.one
    page = either.get(f"/session?id={place.one}").text
    assert f'<h1 dir="auto">{html.escape(f"Rivers {HOSTILE}", quote=False)}'[:30] in page
    assert HOSTILE not in page
    made = done("split", call=place.calls[1])
    assert done("link", other=made[:20], relation="reset") == place.one
    assert on_record(place.path)[place.one].parent_session_id == made
    assert done("merge", other=place.other) == place.one

    found = on_record(place.path)
    assert set(found) == {place.one, made}
    assert (found[place.one].name, found[place.one].calls) == (f"Rivers {HOSTILE}", 2)
    assert (found[made].calls, found[made].because) == (2, "correction")
    assert corrections(place.path) == ["rename", "split", "link", "merge"]


@pytest.mark.parametrize(
    ("form", "status", "why"),
    [
        ({"do": "merge", "other": "sess_nothing"}, 404, "there is no session 'sess_nothing'"),
        ({"do": "merge", "other": "{one}"}, 400, "cannot be merged with itself"),
        ({"do": "merge", "other": "sess_"}, 404, "several sessions begin with 'sess_'"),
        ({"do": "merge", "other": "  "}, 400, "expected the id of a session"),
        ({"do": "split", "call": "{first}"}, 400, "is the first call of"),
        ({"do": "split", "call": "call_no"}, 404, "there is no call 'call_no'"),
        ({"do": "split"}, 400, "expected the call from which on"),
        ({"do": "link", "other": "{one}", "relation": "fork"}, 400, "came from"),
        ({"do": "link", "other": "{other}", "relation": HOSTILE}, 400, "expected one of subagent"),
        ({"do": "rename", "name": "x" * 121}, 400, "at most 120 characters"),
        ({"do": "rename", "session": ""}, 400, "expected the id of a session"),
        ({"do": "forget"}, 400, "expected one of rename, link, split, merge"),
        ({}, 400, "expected one of rename, link, split, merge"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    place: Place, browser: Browser, form: dict[str, str], status: int, why: str
) -> None:
    before = on_record(place.path)
    named = {"one": place.one, "other": place.other, "first": place.calls[0]}
    said = {name: value.format(**named) if "{" in value else value for name, value in form.items()}

    answer = browser.send(form=browser.carried(place.one), **({"session": place.one} | said))

    assert answer.status_code == status
    assert why in html.unescape(answer.text)
    assert "Nothing was changed" in answer.text
    assert HOSTILE not in answer.text
    assert on_record(place.path) == before
    assert corrections(place.path) == []


def test_a_file_that_is_gone_or_written_to_is_said(place: Place, browser: Browser) -> None:
    form = browser.carried(place.one)
    place.path.rename(place.path.with_name("moved.db"))

    answer = browser.send(form=form, do="rename", session=place.one, name="Rivers")

    assert answer.status_code == 503
    assert "nothing is on record yet" in answer.text
    assert not place.path.exists()


# By whom


def test_without_a_token_nothing_is_taken_and_the_commands_are_told(place: Place) -> None:
    browser = Browser(place.path, token="")
    for address in (
        f"/session?id={place.one}",
        f"/run?id={place.one}",
        f"/call?id={place.calls[1]}",
    ):
        assert '<form class="correct"' not in browser.get(address).text

    refused = browser.send(do="rename", session=place.one, name="Rivers", form="")
    assert refused.status_code == 403
    assert "callerid rename" in refused.text

    page = browser.get(f"/session?id={place.one}").text
    (told,) = re.findall(r"<code>(callerid rename .*?)</code>", page)
    words = shlex.split(html.unescape(told))
    assert words == ["callerid", "rename", place.one, "NAME", "--db", str(place.path)]
    assert CliRunner().invoke(cli, words[1:]).exit_code == 0
    assert on_record(place.path)[place.one].name == "NAME"


def test_who_has_no_token_cannot_correct(place: Place, browser: Browser) -> None:
    form = browser.carried(place.one)
    browser.client = browser.app.test_client()

    answer = browser.send(form=form, do="rename", session=place.one, name="Theirs")

    assert answer.status_code == 403
    assert corrections(place.path) == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:9999",
        "http://127.0.0.1:8082.evil.example",
    ],
)
def test_a_form_of_another_page_is_not_taken(place: Place, browser: Browser, origin: str) -> None:
    form = browser.carried(place.one)  # even if it had been guessed

    answer = browser.send(
        {"origin": origin}, form=form, do="rename", session=place.one, name="Theirs"
    )

    assert answer.status_code == 403
    assert "Origin" in answer.text
    assert corrections(place.path) == []


@pytest.mark.parametrize("form", ["", "0" * 64, TOKEN, "ü"])
def test_a_form_that_does_not_carry_what_ours_do_is_not_taken(
    place: Place, browser: Browser, form: str
) -> None:
    answer = browser.send(form=form, do="rename", session=place.one, name="Theirs")

    assert answer.status_code == 403
    assert corrections(place.path) == []


def test_a_name_that_was_led_to_this_machine_corrects_nothing(
    place: Place, browser: Browser
) -> None:
    """DNS rebinding: the page of evil.example is then of the same origin as we."""
    form = browser.carried(place.one)
    led = {"host": "evil.example:8082", "origin": "http://evil.example:8082"}
    led["cookie"] = f"callerid-token-80={TOKEN}"  # even if it had come along
    browser.client = browser.app.test_client(use_cookies=False)
    said = {"form": form, "do": "rename", "session": place.one, "name": "Theirs"}

    answer = browser.send(led, **said)

    assert answer.status_code == 403
    assert "is not ours" in answer.text
    assert corrections(place.path) == []


def test_a_link_changes_nothing(place: Place, browser: Browser) -> None:
    form = browser.carried(place.one)
    address = f"/correct?form={form}&do=rename&session={place.one}&name=Theirs"

    assert browser.get(address).status_code == 405
    assert browser.client.put(address, headers={"host": HOST}).status_code == 405
    assert corrections(place.path) == []


def test_other_machines_correct_with_the_token_under_any_name(
    place: Place, browser: Browser
) -> None:
    form = browser.carried(place.one)
    answer = browser.client.post(
        "/correct",
        data={"form": form, "do": "rename", "session": place.one, "name": "Rivers"},
        headers={
            "host": "box:8082", "origin": "http://box:8082", "authorization": f"Bearer {TOKEN}",
        },
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )  # fmt: skip

    assert answer.status_code == 303
    assert on_record(place.path)[place.one].name == "Rivers"


def test_pages_still_only_read(place: Place, browser: Browser) -> None:
    with opened(place.path) as database, pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.conn.execute("update sessions set given_name = 'x'")
    for address in ("/", "/run", "/session", "/call", "/events"):
        assert browser.client.post(address, headers={"host": HOST}).status_code == 405


def test_a_large_form_is_refused(place: Place, browser: Browser) -> None:
    form = browser.carried(place.one)

    answer = browser.send(form=form, do="rename", session=place.one, name="x" * 100_000)

    assert answer.status_code == 413


def test_the_command_prints_an_address_that_may_correct(place: Place) -> None:
    program = "from callerid.commands.cli import main; main()"
    command = [sys.executable, "-c", program, "explore", str(place.path), "--correct"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout
        try:
            found = re.search(
                r"(http://127\.0\.0\.1:\d+)/\?token=\S{32}", running.stdout.readline()
            )
            assert found
            with httpx.Client(trust_env=False, follow_redirects=True) as client:
                assert client.get(f"{found[1]}/").status_code == 403
                assert client.get(found[0]).status_code == 200
                page = client.get(f"{found[1]}/session?id={place.one}").text
                carried = re.search(r'name="form" value="([0-9a-f]{64})"', page)
                assert carried
                said = {"form": carried[1], "do": "rename", "session": place.one, "name": "Mine"}
                there = client.post(f"{found[1]}/correct", data=said, headers={"origin": found[1]})
            assert there.status_code == 200
            assert '<h1 dir="auto">Mine' in there.text
        finally:
            running.terminate()
