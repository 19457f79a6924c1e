"""The explorer with much to show, in a real browser: it is there at once, and it scrolls."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest

from callerid.explorer.app import Explorer
from callerid.operators.access import Access
from callerid.operators.server import Server
from callerid.settings.values import AdminSettings
from chromium import chromium, needs_chromium
from office import anthropic_reply, office, text

pytestmark = needs_chromium

PAINT_SECONDS = 1.0
FRAME_MILLISECONDS = 50.0  # on average, and on a machine that has much else to do
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_SCROLL = """async () => {
    const took = [];
    let before = await new Promise(requestAnimationFrame);
    for (let at = 0; at < 60; at++) {
        scrollBy(0, document.documentElement.scrollHeight / 60);
        const now = await new Promise(requestAnimationFrame);
        took.push(now - before);
        before = now;
    }
    return took;
}"""


def talk(at: Any, name: str, turns: int, parent: str = "") -> None:
    """A session of so many turns."""
    headers = (("x-callerid-session-id", name),)
    headers += (("x-callerid-parent-session-id", parent),) if parent else ()
    said: list[Any] = []
    for turn in range(turns):
        said.append({"role": "user", "content": f"{name}: what of page {turn}? {'Say. ' * 30}"})
        body = {"model": "claude-sonnet-4-6", "system": "You are a clerk.", "messages": said}
        reply = anthropic_reply(text(f"Of {turn}, {'thus. ' * 40}"), tokens=(100 * turn, 200))
        at.call("/v1/messages", body, reply, headers=headers, host="api.anthropic.com")
        said.append({"role": "assistant", "content": f"Of {turn}, {'thus. ' * 40}"})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("much") / "traces.db"
    with office(path, record={"queue_size": 10_000}) as at:
        talk(at, "lead", 100)
        for number in range(9):
            talk(at, f"helper-{number}", 100, parent="lead")
        talk(at, "long", 400)
    server = Server(None, "127.0.0.1", 0, Explorer(path), Access(AdminSettings()))
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def test_a_run_of_a_thousand_calls_is_painted_within_a_second(browser: Any, url: str) -> None:
    """The best of a few: what else the machine does is nobody's fault."""
    paints = []
    for _ in range(4):
        page = browser.new_page()
        page.goto(f"{url}/run?id=lead")
        assert page.locator("a.bar").count() == 1000
        paints.append(page.evaluate(_PAINT) / 1000)
        page.close()

    print(f"first paint: {sorted(paints)} s")
    assert min(paints) < PAINT_SECONDS


def test_a_session_of_400_turns_scrolls(browser: Any, url: str) -> None:
    page = browser.new_page()
    page.goto(f"{url}/session?id=long")
    assert page.locator(".exchange").count() == 300  # the others are on the next page

    took = page.evaluate(_SCROLL)

    print(f"frames: {median(took):.1f} ms (p50), {max(took):.1f} ms (most)")
    assert page.evaluate("scrollY") > 10_000
    assert median(took) < FRAME_MILLISECONDS
    page.close()
