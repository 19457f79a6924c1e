"""A network namespace with nothing but loopback: no packet can leave it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_INSIDE = "CALLERID_COMPLIANCE_INSIDE"
_WAYS = (("unshare", "--net"), ("unshare", "--net", "--map-root-user"))
_LOOPBACK = ("ip", "link", "set", "lo", "up")


def is_inside() -> bool:
    """Whether this process runs in such a namespace, and nothing but loopback is there."""
    return bool(os.environ.get(_INSIDE)) and not _interfaces_but_loopback()


def _interfaces_but_loopback() -> list[str]:
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    names = [line.partition(":")[0].strip() for line in lines]
    return [name for name in names if name != "lo"]


def way_in() -> tuple[str, ...]:
    """The command that starts another one inside; () where this user cannot."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        return ()
    return next((way for way in _WAYS if _works((*way, *_LOOPBACK))), ())


def _works(command: tuple[str, ...]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def enter(way: tuple[str, ...], words: list[str]) -> None:
    """Run this program again inside; does not come back."""
    again = ["sh", "-c", f'{" ".join(_LOOPBACK)} && exec "$@"', "sh", sys.executable, *words]
    os.environ[_INSIDE] = "1"
    os.execvp(way[0], [*way, *again])
