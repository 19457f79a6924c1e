"""Where a chromium is, for tests and pictures: the system's own, or one that Playwright fetched."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FETCHED = "chromium-*/chrome-linux*/chrome"


def found() -> str:
    """The program; "" where there is none."""
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright"
    fetched = sorted(Path(folder).glob(FETCHED))
    return next(filter(None, map(shutil.which, NAMES)), "") or str(fetched[-1] if fetched else "")


if __name__ == "__main__":
    print(found() or "there is no chromium")
    sys.exit(0 if found() else 1)
