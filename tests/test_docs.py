"""What the documents say is there, is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from callerid.commands.cli import cli
from callerid.traces.database import open_database
from callerid.turn import Because

TOP = Path(__file__).parents[1]
PAGES = sorted(
    [*TOP.glob("*.md"), TOP / "addon" / "README.md"], key=lambda page: page.relative_to(TOP)
)
README = (TOP / "README.md").read_text("utf-8")
SCRIPTS = sorted(path for path in (TOP / "scripts").iterdir() if path.is_file())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    inside = [link for link in links if not link.startswith(("http:", "https:"))]

    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_scripts_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"\bscripts/([a-z]+)\b", page.read_text("utf-8")))

    assert named <= {script.name for script in SCRIPTS} | {"lab"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_explains_itself(script: Path) -> None:
    result = subprocess.run(
        [script, "--help"], capture_output=True, text=True, timeout=120, check=False
    )

    assert result.returncode == 0, result.stderr
    assert script.name in result.stdout.lower()


def test_the_commands_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"(?:\.venv/bin/|`)callerid ([a-z]+)", README))

    assert named <= set(cli.commands)
    assert {"run", "tree", "identify", "explain"} <= named


def test_the_readme_tells_of_every_rung() -> None:
    told = README.partition("## How a call is recognised")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `([a-z_]+)` \|", told, re.MULTILINE)) == set(Because)


def test_the_tables_and_views_that_the_readme_asks_exist(tmp_path: Path) -> None:
    queries = re.findall(r"sqlite3 traces\.db (?:'([^']+)'|\"([^\"]+)\")", README)
    open_database(tmp_path / "traces.db").conn.close()
    database = Database(tmp_path / "traces.db")

    assert queries
    for single, double in queries:
        assert list(database.query(single or double)) == []
    database.conn.close()


def test_nothing_is_left_to_be_filled_in() -> None:
    for page in PAGES:
        assert not re.search(r"TODO|FIXME|XXX|\bTBD\b", page.read_text("utf-8")), page


def test_help_needs_no_terminal() -> None:
    result = CliRunner().invoke(cli, ["--help"])

    assert result.exit_code == 0
    assert "which agent, which session, whose child" in result.output


def test_callerid_can_be_run_as_it_is_installed() -> None:
    program = Path(sys.executable).with_name("callerid")
    result = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True, env=os.environ
    )

    assert result.stdout.startswith("callerid, version ")
