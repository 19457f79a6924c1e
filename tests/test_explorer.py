"""The explorer: its pages show what is on record, and nothing on record can do a thing to them."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from callerid.archive import corrections
from callerid.commands.cli import cli
from callerid.explorer import explanation, words
from callerid.explorer.app import HEADERS, Explorer
from callerid.explorer.record import NoRecord, opened
from callerid.explorer.scale import PAUSE, scale
from callerid.operators.access import Access
from callerid.operators.server import Server, app_of
from callerid.settings.values import AdminSettings
from callerid.traces import searching
from callerid.traces.database import open_database
from lab import FakeProvider, Proxy
from office import Office, anthropic_reply, office, text

HOST = {"host": "127.0.0.1:8082"}
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
LINK = "[click](javascript:alert(1)) javascript:alert(1)"
ODD = "\x1b[31mred\u202egnp.exe\u0007"
RTL = "متى يكون أعلى مد؟"
KEY = "sk-ant-api03-aVerySecretKeyOfSomebody"
CLERK = f"You are a clerk. {HOSTILE}\nToday is 2026-11-21."
ERRAND = "Read page 112 of the almanac and report the highest spring tide with its hour."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/p9rzsQAAAABJRU5ErkJggg=="  # noqa: E501
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": HOSTILE}}
READ = {"name": "read_page", "input_schema": {"type": "object"}}


class Day(NamedTuple):
    path: Path
    main: str
    helper: str
    fork: str
    calls: list[str]  # of the main session


def ask(at: Office, messages: list[Any], *content: dict[str, Any], **more: Any) -> tuple[str, str]:
    reply = anthropic_reply(*content, cached=more.pop("cached", 0)) if content else OVERLOADED
    status = more.pop("status", 200)
    headers = (("user-agent", "tide-bot/1.0"), ("x-api-key", KEY), ("x-odd", f"$(id)'{HOSTILE}"))
    body = {"model": "claude-sonnet-4-6", "system": CLERK, "tools": [READ]}
    id, identity = at.call(
        "/v1/messages", body | {"messages": messages} | more, reply, headers=headers,
        host="api.anthropic.com", status=status,
    )  # fmt: skip
    return id, identity.session_id


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A run with a helper, a fork, an error, and everything in it that could do harm."""
    path = tmp_path_factory.mktemp("explorer") / "traces.db"
    with office(path) as at:
        image = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        first = [text(f"{HOSTILE} {LINK} {ODD} {RTL}"), {"type": "image", "source": image}]
        said: list[Any] = [{"role": "user", "content": first}]
        call = {"type": "tool_use", "id": "t1", "name": "delegate", "input": {"task": ERRAND}}
        one, main = ask(at, said, {"type": "thinking", "thinking": "Let me think."}, call)
        _, helper = ask(
            at, [{"role": "user", "content": ERRAND}], text("14.1 metres."), system="Reader."
        )
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "14.1 metres." + HOSTILE}
        said += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        two, _ = ask(at, said, text("It is 14.1 metres."), cached=90)
        point = [*said, {"role": "assistant", "content": [text("It is 14.1 metres.")]}]
        said = [*point, {"role": "user", "content": "And the lowest? " + "x" * 5_000_000}]
        three, _ = ask(at, said, text("0.4 metres, they say."), system=CLERK.replace("-21", "-22"))
        other = [*point, {"role": "user", "content": "And at Granville?"}]
        _, fork = ask(at, other, text("Much the same at Granville."))
        said += [{"role": "assistant", "content": [text("0.4 metres, they say.")]}]
        failed, _ = ask(at, [*said, {"role": "user", "content": "Sure?"}], status=529)
        at.call(
            "/v1/chat/completions",
            {"model": "gpt-5.5", "messages": [{"role": "user", "content": HOSTILE}]},
            {"choices": [{"message": {"role": "assistant", "content": LINK}}]},
            headers=(("x-session-id", "../a b/<i>?&#"),),
        )
    database = open_database(path)
    while searching.index(database):
        pass
    database.conn.close()
    assert len({main, helper, fork}) == 3
    return Day(path, main, helper, fork, [one, two, three, failed])


def client_of(path: Path, **admin: Any) -> FlaskClient:
    app = app_of(Access(msgspec.convert(admin, AdminSettings)), None, Explorer(path))
    app.testing = True
    return app.test_client()


@pytest.fixture(scope="module")
def pages(day: Day) -> dict[str, str]:
    """Every page of the day by its address."""
    with closing(sqlite3.connect(day.path)) as database:
        ids = {
            "run": [
                r for (r,) in database.execute("select distinct root_session_id from sessions")
            ],
            "session": [r for (r,) in database.execute("select id from sessions")],
            "call": [r for (r,) in database.execute("select id from calls")],
            "agent": [r for (r,) in database.execute("select id from agents")],
        }
    addresses = [f"/{page}?id={quote(id, safe='')}" for page, all in ids.items() for id in all]
    addresses += ["/", "/agents", "/compare", f"/compare?a={day.main}&b={day.fork}"]
    addresses += ["/?q=metres", f"/?agent={quote(HOSTILE)}", f"/?q={quote(HOSTILE)}"]
    client = client_of(day.path)
    found = {}
    for address in addresses:
        response = client.get(address, headers=HOST)
        assert response.status_code == 200, (address, response.get_data(as_text=True)[-2000:])
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        found[address] = response.get_data(as_text=True)
    return found


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_that_was_said_becomes_part_of_a_page(pages: dict[str, str]) -> None:
    for address, page in pages.items():
        for tag, attributes in Seen(page).tags:
            assert not [name for name in attributes if name.startswith("on")], (address, tag)
            assert "style" not in attributes, (address, tag)
            assert tag not in ("style", "iframe", "object", "embed", "base"), address
            if tag == "script":
                assert attributes.get("src") == "/static/explorer.js", address
    assert any("&lt;script&gt;alert(1)" in page for page in pages.values())


def test_every_link_and_file_is_our_own(pages: dict[str, str]) -> None:
    for address, page in pages.items():
        for tag, attributes in Seen(page).tags:
            for name in ("href", "src", "action"):
                if (value := attributes.get(name)) is not None:
                    assert re.match(r"/(?!/)|[?#]", value), (address, tag, value)


def test_the_files_load_nothing_from_elsewhere() -> None:
    folder = Path(words.__file__).parent
    for file in [*folder.glob("static/*"), *folder.glob("templates/*")]:
        found = re.findall(r"https?://[^\s\"'<]+|@import|\burl\(", file.read_text("utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, file


def test_what_cannot_be_seen_is_shown(pages: dict[str, str], day: Day) -> None:
    page = pages[f"/session?id={day.main}"]

    assert "␛[31mred‹U+202E›gnp.exe␇" in page
    assert RTL in page
    assert not [sign for sign in ("\x1b", "\u202e", "\x07") if sign in page]


def test_a_text_of_megabytes_is_cut_and_can_be_had_whole(pages: dict[str, str], day: Day) -> None:
    page = pages[f"/session?id={day.main}"]
    assert len(page) < 200_000
    link = re.search(r'<a class="rest" href="([^"]+)">all ([\d,]+) characters', page)
    assert link
    assert link[2] == "5,000,016"

    whole = client_of(day.path).get(link[1].replace("&amp;", "&"), headers=HOST)

    assert whole.content_type == "text/plain; charset=utf-8"
    assert whole.get_data(as_text=True).endswith("x" * 5_000_000)


def test_runs_are_told_with_what_they_came_to(pages: dict[str, str], day: Day) -> None:
    page = pages["/"]

    assert page.count('<tr class="row') == 2
    assert "1 fork" in page
    assert "1 error" in page
    assert "claude-sonnet-4-6" in page
    assert "header" in page


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("agent=clerk", 1), ("agent=nobody", 0), ("model=gpt", 1), ("status=failed", 1),
        ("status=ok", 1), ("status=in_flight", 0), ("status=nonsense", 2), ("client=tide", 0),
        ("since=2020-01-01", 2), ("page=2", 0), ("page=x", 2),
    ],
)  # fmt: skip
def test_runs_are_filtered_and_paged(day: Day, query: str, count: int) -> None:
    page = client_of(day.path).get(f"/?{query}", headers=HOST).get_data(as_text=True)

    assert page.count('<tr class="row') == count


def test_a_run_shows_who_came_from_whom_and_when(pages: dict[str, str], day: Day) -> None:
    page = pages[f"/run?id={day.main}"]

    assert page.count('<g class="lane ') == 3
    assert page.count('class="spawn subagent"') == page.count('class="spawn fork"') == 1
    assert page.count('<a class="bar ') == 6
    assert page.count('<a class="bar failed"') == 1
    assert '<line class="gap"' in page
    assert 'rect class="read"' in page
    assert f"/compare?a={day.main}&amp;b={day.fork}" in page


def test_what_a_budget_refused_has_not_failed(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        ids = [
            at.call("/v1/messages", body, anthropic_reply(text("Hi.")),
                    headers=(("x-session-id", "ours"),))[0]
            for _ in range(2)
        ]  # fmt: skip
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update calls set state = 'blocked', status = 429 where id = ?", ids[1:])
        for view in ("agent_summary", "daily_usage"):
            assert database.execute(f"select failed_calls from {view}").fetchall() == [(0,)]

    client = client_of(path)
    for status, count in (("ok", 1), ("failed", 0)):
        page = client.get(f"/?status={status}", headers=HOST).text
        assert page.count('<tr class="row ok"') == count
    page = client.get("/run?id=ours", headers=HOST).text
    assert "<dt>errors</dt><dd>0</dd>" in page
    assert "refused by a budget" in client.get(f"/call?id={ids[1]}", headers=HOST).text


def test_a_session_has_each_message_once_and_results_with_their_tools(
    pages: dict[str, str], day: Day
) -> None:
    page = pages[f"/session?id={day.main}"]

    assert page.count("And the lowest?") == 1
    assert page.count("It is 14.1 metres.") == 1
    assert re.search(r'class="tool">.*?delegate.*?class="answer".*?14\.1 metres\.&lt;', page, re.S)
    assert "Let me think." in page
    assert f"/session?id={day.helper}" in page
    assert "callerid split" in page


def test_an_image_is_shown_and_no_other_kind_of_file_is(day: Day, pages: dict[str, str]) -> None:
    source = re.search(r'src="(/image[^"]+)"', pages[f"/session?id={day.main}"])
    assert source
    client = client_of(day.path)

    image = client.get(source[1].replace("&amp;", "&"), headers=HOST)

    assert (image.content_type, image.data) == ("image/png", base64.b64decode(PIXEL))
    missing = client.get(f"/image?call={day.calls[0]}&number=7", headers=HOST)
    assert missing.status_code == 404


def test_a_call_says_how_we_know_and_what_changed(pages: dict[str, str], day: Day) -> None:
    page = pages[f"/call?id={day.calls[2]}"]

    assert re.search(r'<li class="decided"><span class="rung">history</span>', page)
    assert "The system prompt changed" in page
    assert "90 %" not in page
    assert "the same bytes" in page or "with secrets masked" in page
    assert KEY not in page
    assert "529" in pages[f"/call?id={day.calls[3]}"]


@pytest.mark.parametrize("is_aside", [False, True], ids=["here", "aside"])
def test_the_whole_ladder_is_what_the_command_tells(day: Day, is_aside: bool) -> None:
    explorer = Explorer(day.path, is_aside=is_aside)
    client = app_of(Access(AdminSettings()), None, explorer).test_client()
    try:
        for call in day.calls:
            page = client.get(f"/explain?id={call}", headers=HOST).text
            told = CliRunner().invoke(cli, ["explain", call, "--db", str(day.path)]).output
            rungs = re.findall(r"[○●] (.*?): looked at (.*)\n +(.*)", told)
            assert len(rungs) >= 2
            listed = page.partition('<ol class="ladder">')[2].partition("</ol>")[0]
            seen = [" ".join(item.split()) for item in listed.split("</li>")[:-1]]
            for item, (name, looked_at, found) in zip(seen, rungs, strict=True):
                plain = html.unescape(re.sub(r"<.*?>", "", item))
                assert plain.startswith(f"{name} looked at {words.short_ids(looked_at)}"[:60])
                assert plain.endswith(words.short_ids(found)[-40:])
    finally:
        explorer.close()


def test_too_much_to_be_identified_again_for_a_page_is_left_to_the_command(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanation, "MOST_BYTES", 1000)

    page = client_of(day.path).get(f"/explain?id={day.calls[-1]}", headers=HOST).text

    assert "Too much is on record" in page
    assert f"callerid explain {day.calls[-1]} --db" in page


def test_what_a_person_put_there_has_no_ladder(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        declared = (("x-session-id", "ours"),)
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        reply = anthropic_reply(text("Hi."))
        ids = [at.call("/v1/messages", body, reply, headers=declared)[0] for _ in range(2)]
    with closing(open_database(path)) as database:
        corrections.split(database, ids[1], "sess_new", 1_790_000_100.0)
    client = client_of(path)

    assert "a person put it here" in client.get(f"/explain?id={ids[1]}", headers=HOST).text
    assert '<ol class="ladder">' in client.get(f"/explain?id={ids[0]}", headers=HOST).text


def test_a_call_shows_only_what_the_call_before_had_not_said(
    pages: dict[str, str], day: Day
) -> None:
    new = pages[f"/call?id={day.calls[1]}"].partition('class="exchange new"')[2]

    assert "It is 14.1 metres." in new
    assert new.count('<div class="message') == 2


def test_a_body_is_saved_as_it_was(day: Day) -> None:
    response = client_of(day.path).get(f"/body?id={day.calls[1]}", headers=HOST)

    assert json.loads(response.data)["messages"][-1]["role"] == "user"
    assert response.headers["content-disposition"].startswith("attachment; ")
    assert response.content_type == "application/octet-stream"


def test_a_call_as_curl_asks_the_same_and_runs_nothing_that_a_stranger_wrote(
    day: Day, pages: dict[str, str]
) -> None:
    found = re.search(
        r'<div class="command block"><pre>(.*?)</pre>', pages[f"/call?id={day.calls[1]}"], re.S
    )
    assert found
    import html

    command = html.unescape(found[1])
    program = "curl() { printf '%s\\0' \"$@\"; }; " + command
    ran = subprocess.run(
        ["bash", "-c", program], capture_output=True, check=True, env={"API_KEY": "my key"}
    )
    given = ran.stdout.decode().split("\0")[:-1]

    assert given[:3] == ["-X", "POST", "https://api.anthropic.com/v1/messages"]
    assert "x-api-key: my key" in given
    assert f"x-odd: $(id)'{HOSTILE}" in given
    assert json.loads(given[given.index("--data-binary") + 1])["model"] == "claude-sonnet-4-6"
    assert KEY not in command
    assert shlex.split(command)[0] == "curl"


def test_agents_have_their_prompts_and_how_those_differ(day: Day, pages: dict[str, str]) -> None:
    clerks = [page for address, page in pages.items() if address.startswith("/agent?")]
    page = next(page for page in clerks if "You are a clerk" in page)

    assert '<span class="del">-Today is 2026-11-21.' in page
    assert '<span class="add">+Today is 2026-11-22.' in page
    assert '<span class="ctx"> You are a clerk. &lt;script&gt;' in page
    assert re.search(r"<code>delegate</code></td><td class=\"num\">1<", page)
    assert re.search(r"<code>read_page</code></td><td class=\"num\">never<", page)


def test_sessions_side_by_side_begin_where_they_part(pages: dict[str, str], day: Day) -> None:
    page = pages[f"/compare?a={day.main}&b={day.fork}"]
    shared, _, parted = page.partition('<div class="sides">')

    assert "Both begin with the same 4 messages" in shared
    assert "And at Granville?" in parted
    assert "It is 14.1 metres." not in parted


def test_search_marks_what_it_finds_and_writes_nothing(pages: dict[str, str], day: Day) -> None:
    page = pages["/?q=metres"]

    assert "<mark>metres</mark>" in page
    assert f"/session?id={day.main}&amp;call={day.calls[1]}#{day.calls[1]}" in page


def test_an_id_leads_to_what_it_names(day: Day) -> None:
    client = client_of(day.path)

    assert client.get(f"/?q={day.helper}", headers=HOST).location == f"/session?id={day.helper}"
    shortened = client.get(f"/?q={day.calls[0][:-1]}", headers=HOST)
    assert shortened.status_code in (200, 302)


@pytest.mark.parametrize(
    "address",
    ["/run?id=nobody", "/session?id=nobody", "/call?id=nobody", "/agent?id=nobody", "/call",
     "/body?id=nobody", "/text?call=nobody", "/compare?a=nobody&b=nobody"],
)  # fmt: skip
def test_what_is_not_on_record_is_not_found(day: Day, address: str) -> None:
    response = client_of(day.path).get(address, headers=HOST)

    assert response.status_code == 404
    assert b"there is no" in response.data


def test_a_time_that_cannot_be_read_is_said(day: Day) -> None:
    response = client_of(day.path).get("/?since=soon", headers=HOST)

    assert response.status_code == 400
    assert b"expected how long ago" in response.data


def test_where_nothing_is_on_record_yet_it_says_so(tmp_path: Path) -> None:
    response = client_of(tmp_path / "traces.db").get("/", headers=HOST)

    assert response.status_code == 503
    assert b"nothing is on record yet" in response.data
    assert not (tmp_path / "traces.db").exists()
    (tmp_path / "traces.db").write_bytes(b"no database" * 100)
    assert client_of(tmp_path / "traces.db").get("/", headers=HOST).status_code == 503
    with pytest.raises(NoRecord), opened(tmp_path / "none.db"):
        pass


def test_nothing_can_be_written(day: Day) -> None:
    with opened(day.path) as database:
        for statement in ("delete from calls", "pragma user_version = 7", "drop table calls"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                database.conn.execute(statement)
    client = client_of(day.path)
    for address in ("/", "/run", "/session", "/call", "/agents", "/body", "/events"):
        assert client.post(address, headers=HOST).status_code == 405
        assert client.delete(address, headers=HOST).status_code == 405


# Who may see it


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example:8082"])
@pytest.mark.parametrize("address", ["/", "/static/explorer.js", "/events", "/nothing"])
def test_only_under_our_own_names(day: Day, host: str, address: str) -> None:
    assert client_of(day.path).get(address, headers={"host": host}).status_code == 403


def test_other_machines_need_the_token(day: Day) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    box = {"host": "box:8082"}

    assert client_of(day.path).get("/", headers=HOST, environ_base=elsewhere).status_code == 403
    client = client_of(day.path, token="t0k")
    assert client.get("/", headers=box, environ_base=elsewhere).status_code == 403
    assert client.get("/?token=no", headers=box, environ_base=elsewhere).status_code == 403
    bearer = box | {"authorization": "Bearer t0k"}
    assert client.get("/", headers=bearer, environ_base=elsewhere).status_code == 200
    assert client.get("/agents", headers=box, environ_base=elsewhere).status_code == 403


def test_a_browser_keeps_the_token_and_its_address_does_not(day: Day) -> None:
    client = client_of(day.path, token="t0k")

    first = client.get("/run?id=a&token=t0k", headers=HOST)

    assert (first.status_code, first.location) == (302, "/run?id=a")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get("/agents", headers=HOST).status_code == 200


def test_the_way_on_from_a_token_stays_here(day: Day) -> None:
    response = client_of(day.path, token="t0k").get("//evil.example/?token=t0k", headers=HOST)

    assert not (response.location or "/").startswith("//")


# Live


def test_browsers_are_told_of_a_call_when_it_is_on_record(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    with office(path) as at:
        at.call("/v1/chat/completions", body, {"choices": []})
    access, explorer = Access(AdminSettings()), Explorer(path)
    server = Server(None, "127.0.0.1", 0, explorer, access)
    url = f"http://127.0.0.1:{server.port}/events"
    try:
        with httpx.Client(trust_env=False, timeout=20) as client, client.stream("GET", url) as live:
            assert live.headers["content-type"].startswith("text/event-stream")
            events = (json.loads(line[6:]) for line in live.iter_lines() if "data: " in line)
            assert next(events) == {"calls": 1, "under_way": 0}
            with office(path, now=1_790_000_500.0) as at:
                at.call("/v1/chat/completions", body | {"user": "b"}, {"choices": []})
                told = next(events)
            assert told["calls"] == 2
    finally:
        server.close()


def test_streams_end_when_the_server_does(day: Day) -> None:
    explorer = Explorer(day.path)
    client = app_of(Access(AdminSettings()), None, explorer).test_client()
    stream: Iterator[bytes] = iter(client.get("/events", headers=HOST).response)
    assert b"retry" in next(stream)
    assert b"record" in next(stream)

    ended = threading.Thread(target=lambda: list(stream))
    ended.start()
    explorer.close()
    ended.join(timeout=10)

    assert not ended.is_alive()


def test_without_a_proxy_a_command_shows_it(day: Day) -> None:
    program = "from callerid.commands.cli import main; main()"
    command = [sys.executable, "-c", program, "explore", str(day.path), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+/", running.stdout.readline())
            assert found
            with httpx.Client(trust_env=False) as client:
                assert "clerk" in client.get(found[0]).text
        finally:
            running.terminate()


def test_beside_the_proxy_it_is_at_the_port_of_the_other_pages(
    addon_script: Path, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "s.yaml").write_text(f"admin: {{port: {port}}}")
    options: dict[str, str | list[str]] = {
        "callerid_db": str(tmp_path / "traces.db"), "callerid_config": str(tmp_path / "s.yaml"),
    }  # fmt: skip
    with (
        FakeProvider(tls=False) as provider,
        Proxy(addon_script, mode=f"reverse:{provider.url}", options=options) as proxy,
        httpx.Client(trust_env=False) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/events") as live,
    ):
        events = (json.loads(line[6:]) for line in live.iter_lines() if "data: " in line)
        assert next(events)["calls"] == 0
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        asked = httpx.post(f"http://127.0.0.1:{proxy.port}/v1/messages", json=body, trust_env=False)
        assert asked.status_code == 200
        assert next(events)["calls"] == 1
        page = client.get(f"http://127.0.0.1:{port}/").text
        assert page.count('<tr class="row') == 1
        assert client.get(f"http://127.0.0.1:{port}/health").json()["status"] == "ok"


# Drawings


def test_a_long_pause_is_drawn_short_and_says_how_long_it_was() -> None:
    line = scale([(0, 10), (12, 20), (5000, 5010)], 1000)

    assert line.x(0) == 0
    assert line.x(5010) == 1000
    assert line.pauses() == [(pytest.approx(line.x(20) + PAUSE / 2, abs=0.02), 4980)]
    assert line.x(11) - line.x(10) == pytest.approx(line.x(1) - line.x(0), abs=0.02)
    assert line.x(2500) == line.x(20)


def test_every_moment_has_a_place_in_order() -> None:
    line = scale([(at * 100.0, at * 100.0 + 3) for at in range(200)], 1000)
    places = [line.x(at / 2) for at in range(40_000)]

    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 1000


@pytest.mark.parametrize(
    ("number", "said"),
    [(None, "–"), (0, "0"), (9999, "9,999"), (14_870, "14.9k"), (150_000, "150k"),
     (2_500_000, "2.5M"), (1_400_000_000, "1.4G")],
)  # fmt: skip
def test_large_numbers_are_short(number: float | None, said: str) -> None:
    assert words.brief(number) == said


def test_code_is_told_from_words() -> None:
    said = "Here:\n```python\nx = 1\n```\nand\n```\nnever closed"

    assert list(words.segments(said)) == [
        (False, "Here:"), (True, "x = 1"), (False, "and"), (True, "never closed"),
    ]  # fmt: skip


# How long it takes


def test_a_long_session_is_shown_in_pages(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        said: list[Any] = []
        for turn in range(321):
            said.append({"role": "user", "content": f"And what of {turn}?"})
            _, session = ask(at, said, text(f"Of {turn} nothing is known."))
            said.append({"role": "assistant", "content": f"Of {turn} nothing is known."})
    client = client_of(path)

    first = client.get(f"/session?id={session}", headers=HOST).get_data(as_text=True)
    second = client.get(f"/session?id={session}&page=2", headers=HOST).get_data(as_text=True)

    assert first.count("<article") == 300
    assert second.count("<article") == 21
    assert "page 2 of 2" in second
