"""The browser of the tests; where there is none, a line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.browser import found

CHROMIUM = found()
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium is installed: scripts/browser installs one"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
