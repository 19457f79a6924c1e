"""The pictures of README are there, are small, and show a run in which all is found as it was."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lab import FakeProvider, Proxy, expedition
from lab.chats import Line
from lab.screenshots import MOST_BYTES, PICTURED, PICTURES

README = Path(__file__).parents[1] / "README.md"
NAMES = [*(picture.name for picture in PICTURED), "mitmweb"]


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_is_shown_and_small(name: str) -> None:
    picture = PICTURES / f"{name}.png"

    assert f"docs/pictures/{name}.png" in README.read_text("utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size <= MOST_BYTES


def test_readme_shows_no_other_pictures() -> None:
    shown = set(re.findall(r"docs/pictures/([\w-]+)\.png", README.read_text("utf-8")))

    assert shown == set(NAMES) == {path.stem for path in PICTURES.iterdir()}


def test_in_the_run_that_they_show_all_sessions_are_found(addon_script: Path) -> None:
    with FakeProvider(expedition.Guide()) as provider, Proxy(addon_script, provider=provider) as at:
        expedition.play(lambda: Line(at.ca_file, at.url))
        at.stop()
        with closing(sqlite3.connect(at.traces)) as database:
            query = "select coalesce(relation, 'root'), count(*) from sessions group by 1"
            found = dict(database.execute(query).fetchall())
            query = "select count(*), sum(state = 'error') from calls"
            calls = database.execute(query).fetchone()

    assert found == {"root": 1, "subagent": 3, "fork": 1}
    assert calls == (16, 1)
