"""A process with all that it has started, as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> Iterator[Path]:
    """The folders in /proc of a process and of all that it has started; raises OSError."""
    process = Path(f"/proc/{pid}")
    yield process
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def resident_bytes(process: Path) -> int:
    """The memory that a process holds; raises OSError."""
    return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
