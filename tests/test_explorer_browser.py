"""The explorer in a real browser: quiet, at home, by keys alone, and readable for everybody."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Response
from werkzeug.serving import BaseWSGIServer, make_server

from callerid.explorer.app import Explorer
from callerid.operators.access import Access
from callerid.operators.server import Server
from callerid.settings.values import AdminSettings
from chromium import chromium, needs_chromium
from lab.compliance.install import cache
from office import anthropic_reply, office, text

pytestmark = needs_chromium

AXE = "4.14.1"  # MPL-2.0: it is fetched into the cache, and no part of the project
TOKEN = "a-token-of-ours"
HOSTILE = '<script>document.title = "pwned"</script><img src="http://192.0.2.1/x.png">'
ERRAND = "Read page 112 of the almanac and report the highest spring tide with its hour."


def record(path: Path, question: str, now: float = 1_790_000_000.0) -> str:
    """A conversation with a helper; the session's id."""
    with office(path, now=now) as at:
        call = {"type": "tool_use", "id": "t1", "name": "delegate", "input": {"task": ERRAND}}

        def ask(said: list[Any], *content: dict[str, Any], system: str) -> str:
            body = {"model": "claude-sonnet-4-6", "system": system, "messages": said}
            reply = anthropic_reply(*content)
            return at.call("/v1/messages", body, reply, host="api.anthropic.com")[1].session_id

        said: list[Any] = [{"role": "user", "content": f"{question} {HOSTILE}"}]
        main = ask(said, text("One moment."), call, system="You are a clerk.")
        ask([{"role": "user", "content": ERRAND}], text("14.1 m, at 8."), system="You read.")
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "14.1 m, at 8."}
        said += [
            {"role": "assistant", "content": [text("One moment."), call]},
            {"role": "user", "content": [result]},
        ]
        ask(said, text(f"14.1 metres. {HOSTILE}"), system="You are a clerk.")
    return main


class Place:
    """A server, and the sessions that it shows."""

    def __init__(self, path: Path, token: str = "") -> None:
        self.path = path
        self.session = record(path, "When is the highest tide?")
        access = Access(AdminSettings(token=token))
        self._server = Server(None, "127.0.0.1", 0, Explorer(path), access)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.close = self._server.close

    def addresses(self) -> list[str]:
        id = quote(self.session)
        with closing(sqlite3.connect(self.path)) as database:
            query = "select id, agent_id from calls where session_id = ? order by started_at"
            calls = database.execute(query, [self.session]).fetchall()
        own = [f"/call?id={call}" for call, _ in calls] + [f"/agent?id={quote(calls[0][1])}"]
        return [
            *own,
            "/",
            f"/run?id={id}",
            f"/session?id={id}",
            "/agents",
            f"/compare?a={id}&b={id}",
        ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("browser") / "traces.db")
    yield made
    made.close()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Place]:
    """A place of which the pages may correct what they show."""
    made = Place(tmp_path / "traces.db", TOKEN)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, place: Place) -> Iterator[Any]:
    """A page; what it complains of, and what it asks of others, is wrong."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    made.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("request", lambda asked: asked.url.startswith(place.url) or wrong.append(asked.url))
    yield made
    context.close()
    assert wrong == []


def test_pages_are_quiet_and_ask_nobody_else(page: Any, place: Place) -> None:
    for address in place.addresses():
        page.goto(place.url + address)
        page.wait_for_selector("#main")
        assert "pwned" not in page.title()


def test_a_reader_comes_from_runs_to_a_call_and_back_by_keys_alone(page: Any, place: Place) -> None:
    page.goto(f"{place.url}/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run?id=*")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/session?id=*")
    page.keyboard.press("e")
    assert page.evaluate("[...document.querySelectorAll('.transcript details')].every(d => d.open)")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/call?id=*")
    page.keyboard.press("n")
    page.wait_for_selector("a[rel=prev]")
    page.wait_for_load_state()  # before it nobody hears a key
    for there in ("**/session?id=*", "**/run?id=*", f"{place.url}/"):
        page.keyboard.press("u")
        page.wait_for_url(there)
    page.keyboard.press("/")
    page.keyboard.type("metres")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hits mark, .empty")
    page.keyboard.press("Escape")
    page.locator("#main").focus()
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1


def test_arrows_walk_along_a_lane(page: Any, place: Place) -> None:
    page.goto(f"{place.url}/run?id={place.session}")
    page.locator("a.bar").first.focus()
    first = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("ArrowRight")

    assert page.evaluate("document.activeElement.getAttribute('href')") != first
    assert page.evaluate("document.activeElement.tabIndex") == 0


def test_a_run_that_begins_appears_by_itself(page: Any, place: Place) -> None:
    page.goto(f"{place.url}/")
    page.wait_for_selector("#live:not([hidden])")
    before = page.locator("tr.row").count()

    record(place.path, "And a wholly other question, of another day?", now=1_790_090_000.0)

    page.locator("tr.row").nth(before).wait_for(timeout=15_000)


def test_a_transcript_grows_at_its_end_and_leaves_the_reader_where_he_is(
    page: Any, place: Place
) -> None:
    words = [
        {"role": "user", "content": f"Tell of page {at}. {'Of it all. ' * 80}"} for at in range(9)
    ]
    ask_named(place.path, words)
    page.goto(f"{place.url}/session?id=growing")
    page.wait_for_selector("#live:not([hidden])")
    page.evaluate("scrollTo(0, 200)")
    first = page.evaluate("document.querySelector('.exchange').id")

    ask_named(
        place.path, [*words, {"role": "user", "content": "And of the tenth?"}], now=1_790_000_100.0
    )

    page.locator(".exchange").nth(1).wait_for(timeout=15_000)
    assert "And of the tenth?" in page.locator(".exchange").nth(1).text_content()
    assert page.evaluate("document.querySelector('.exchange').id") == first
    assert page.evaluate("scrollY") == 200
    assert "calls2" in "".join(page.locator(".facts").text_content().split())
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")

    ask_named(
        place.path, [*words, {"role": "user", "content": "Of the last?"}], now=1_790_000_200.0
    )

    page.locator(".exchange").nth(2).wait_for(timeout=15_000)
    page.wait_for_function(
        "document.documentElement.scrollHeight - innerHeight - scrollY < 80", timeout=5_000
    )


def ask_named(path: Path, said: list[Any], now: float = 1_790_000_000.0) -> None:
    """A call of the session "growing"."""
    with office(path, now=now) as at:
        body = {"model": "claude-sonnet-4-6", "system": "You are a clerk.", "messages": said}
        reply = anthropic_reply(text(f"So be it, at {now:.0f}."))
        at.call("/v1/messages", body, reply, headers=(("x-callerid-session-id", "growing"),))


def names(place: Place) -> dict[str, str | None]:
    with closing(sqlite3.connect(place.path)) as database:
        return dict(database.execute("select id, given_name from sessions").fetchall())


@pytest.mark.parametrize("has_scripts", [True, False], ids=["", "without scripts"])
def test_a_session_is_renamed_and_split_on_its_page(
    browser: Any, ours: Place, has_scripts: bool
) -> None:
    context = browser.new_context(java_script_enabled=has_scripts)
    page = context.new_page()
    page.goto(f"{ours.url}/run?id={quote(ours.session)}&token={TOKEN}")
    assert "token" not in page.url

    page.click("#correct > summary")
    page.fill("#correct [name=name]", "Spring tides")
    page.click("#correct button:text('Rename')")
    page.wait_for_selector(".did")
    assert page.inner_text("h1").strip() == "Spring tides"
    assert names(ours)[ours.session] == "Spring tides"

    page.click("#correct > summary")
    page.click("#correct button:text('Split')")
    page.wait_for_selector(".did")
    assert page.inner_text(".id") not in ("", ours.session)
    assert len(names(ours)) == 3

    page.click("#correct > summary")
    page.fill("#correct form:has(button:text('Merge')) [name=other]", "sess_nobody")
    page.click("#correct button:text('Merge')")
    page.wait_for_selector("[role=alert]")
    assert "sess_nobody" in page.inner_text("[role=alert]")
    context.close()


def test_a_page_of_another_port_corrects_nothing_though_the_cookie_goes_along(
    browser: Any, ours: Place
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{ours.url}/session?id={quote(ours.session)}&token={TOKEN}")
    carried = page.get_attribute("#correct [name=form]", "value")
    fields = {"form": carried, "do": "rename", "session": ours.session, "name": "Theirs"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{ours.url}/correct">{inputs}<button>Go</button></form>'
    theirs = make_app(form)
    try:
        page.goto(f"http://127.0.0.1:{theirs.server_port}/")
        with page.expect_response(f"{ours.url}/correct") as answered:
            page.click("button")
        assert answered.value.status == 403
        assert "callerid-token" in answered.value.request.all_headers()["cookie"]
        assert "is not ours" in page.inner_text("body")
    finally:
        theirs.shutdown()
        theirs.server_close()
    assert names(ours)[ours.session] is None
    context.close()


def make_app(said: str) -> BaseWSGIServer:
    """Another server of this machine, with one page."""
    made = make_server("127.0.0.1", 0, Response(said, content_type="text/html"), threaded=True)
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    return made


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_the_screen(page: Any, place: Place, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for address in place.addresses():
        page.goto(place.url + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which looks for what some people cannot read or reach."""
    folder = cache("browser") / f"axe-core@{AXE}"
    file = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed, which could fetch axe-core")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-fund", "--no-audit", "--fetch-retries", "1"]
        named = ["--prefix", str(folder), f"axe-core@{AXE}"]
        done = subprocess.run([*command, *named], capture_output=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip("axe-core could not be fetched")
    return file.read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, place: Place, axe: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for address in place.addresses():
        page.goto(place.url + address)
        page.evaluate(axe)
        found = page.evaluate("axe.run().then(found => found.violations)")

        said = [(each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found]
        assert said == [], address


@pytest.mark.parametrize("width", [360, 1280])
def test_forms_can_be_read_and_reached(browser: Any, ours: Place, axe: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    formed = context.new_page()
    formed.goto(f"{ours.url}/?token={TOKEN}")
    for address in ours.addresses():
        formed.goto(ours.url + address)
        for each in formed.query_selector_all("#correct > summary"):
            each.click()
        assert formed.evaluate("document.documentElement.scrollWidth") <= width, address
        formed.evaluate(axe)
        found = formed.evaluate("axe.run().then(found => found.violations)")
        said = [(each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found]
        assert said == [], address
    context.close()
