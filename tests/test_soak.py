"""The soak holds traffic through a proxy and sees that all of it is on record."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def soak(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lab.soak", *options],
        cwd=SCRIPTS, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("program", [(), ("--mitmweb",)], ids=["mitmdump", "mitmweb"])
def test_all_that_was_answered_is_on_record(program: tuple[str, ...]) -> None:
    printed = soak("--calls", "200", "--body", "6000", "--look", "1", *program)

    assert re.search(
        r"^All 2\d\d calls are on record: \d+ aborted, \d+ ok; ", printed, re.MULTILINE
    )
    assert re.search(r"^Memory: \d+ MB .* handles: \d+, then \d+\.$", printed, re.MULTILINE)
    assert len(re.findall(r"^ +0\.\d +\d+ ", printed, re.MULTILINE)) >= 10
