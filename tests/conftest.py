"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def addon_script() -> Path:
    """What `mitmdump -s` is given."""
    return Path(__file__).parents[1] / "addon" / "main.py"
