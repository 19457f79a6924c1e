"""Makes the pictures that README shows, of the explorer and of mitmweb, from the demo's traces."""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from callerid.commands.launch import WEB_COLUMNS
from lab import Answer, Asked, FakeProvider, Proxy, demo, expedition
from lab.browser import found
from lab.chats import Line

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDE, NARROW, MITMWEB = (1200, 780), (390, 780), (1500, 760)
SHARPNESS = 1.5  # of a picture's pixels for one of a page's
MOST_BYTES = 200_000
RUN, SESSION = "tr.row:has-text('planner')", ".tree tr.row"


class Picture(NamedTuple):
    """A page as it is shown: `goes` leads a browser there from the list of runs."""

    name: str
    goes: Callable[[Any], None]
    size: tuple[int, int] = WIDE
    is_dark: bool = False


def _open(*places: str) -> Callable[[Any], None]:
    """Follow the first link in each of these places, one after the other."""

    def go(page: Any) -> None:
        for place in places:
            page.locator(f"{place} a.main").first.click()
            page.wait_for_load_state("load")

    return go


def _call(page: Any) -> None:
    _open(RUN, SESSION)(page)
    page.locator(".exchange a.main").nth(1).click()
    page.wait_for_load_state("load")


def _session(page: Any) -> None:
    _open(RUN, SESSION)(page)
    page.locator(".exchange").nth(1).evaluate("each => each.scrollIntoView()")


PICTURED = (
    Picture("run", _open(RUN)),
    Picture("run-dark", _open(RUN), is_dark=True),
    Picture("session", _session),
    Picture("call", _call),
    Picture("run-phone", _open(RUN), NARROW),
)


class _Everybody:
    """The demo's model and the expedition's, each for its own agents."""

    def __init__(self) -> None:
        self._demo, self._guide = demo.Model(), expedition.Guide()

    def __call__(self, asked: Asked) -> Answer:
        walkers = expedition.PLANNER.encode(), expedition.SCOUT.encode()
        is_walking = any(prompt in asked.body for prompt in walkers)
        return self._guide(asked) if is_walking else self._demo(asked)


@contextmanager
def _played(web_port: int) -> Iterator[Proxy]:
    """A mitmweb through which all of it has passed."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write("admin: {port: 0}\n")
        config.flush()
        provider = FakeProvider(_Everybody(), before_chunk=expedition.as_providers_do)
        with provider, Proxy(
            demo.ADDON, provider=provider, program="mitmweb",
            options=_options(web_port) | {"callerid_config": config.name},
        ) as proxy:  # fmt: skip

            def line(headers: dict[str, str] | None = None) -> Line:
                return Line(proxy.ca_file, proxy.url, headers=headers or {})

            cast = demo.Cast(line)
            cast.play()
            for talk in cast.talks:
                talk.chat.close()
            expedition.play(line)
            yield proxy


def _options(web_port: int) -> dict[str, str | list[str]]:
    return {
        "web_open_browser": "false", "web_host": "127.0.0.1", "web_port": str(web_port),
        "web_columns": list(WEB_COLUMNS),
    }  # fmt: skip


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, metavar="FOLDER")
    folder = parser.parse_args().to
    if not found():
        print("scripts/screenshots: no chromium (scripts/browser installs one)", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with _played(_free_port()) as proxy, _browser() as browser:
        explorer = proxy.wait_for(r"look at (http://\S+)/,")[1]
        for picture in PICTURED:
            with _page(browser, picture.size, is_dark=picture.is_dark) as page:
                page.goto(f"{explorer}/")
                picture.goes(page)
                _keep(page, folder / f"{picture.name}.png")
        web = proxy.wait_for(r"(?:Web server listening at|server listening at) (http://\S+)")[1]
        with _page(browser, MITMWEB, is_dark=False, sharpness=1) as page:
            _mitmweb(page, web)
            _keep(page, folder / "mitmweb.png")
    large = [path.name for path in folder.glob("*.png") if path.stat().st_size > MOST_BYTES]
    for path in sorted(folder.glob("*.png")):
        print(f"{path.stat().st_size:>9,} {path}")
    if large:
        print(f"larger than {MOST_BYTES:,} bytes: {', '.join(large)}", file=sys.stderr)
    return 1 if large else 0


def _mitmweb(page: Any, url: str) -> None:
    """The list of flows, and one of them as an LLM turn."""
    page.goto(f"{url}#/flows?s=~comment%20of-walks")
    page.locator(".flow-table tbody tr:has-text('planner')").nth(2).click()
    page.get_by_text("Response", exact=True).first.click()
    page.get_by_text("LLM turn").first.wait_for()
    page.get_by_text("Three walks, and what each of them needs").first.wait_for()


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found(), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def _page(
    browser: Any, size: tuple[int, int], *, is_dark: bool, sharpness: float = SHARPNESS
) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=sharpness,
        color_scheme="dark" if is_dark else "light", reduced_motion="reduce",
    )  # fmt: skip
    yield context.new_page()
    context.close()


def _keep(page: Any, path: Path) -> None:
    page.screenshot(path=path)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", path], check=True)


if __name__ == "__main__":
    sys.exit(main())
