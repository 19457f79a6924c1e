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
    """Whether this process was started in such a namespace; raises RuntimeError where it leaks."""
    if _INSIDE not in os.environ:
        return False
    if out := routes_out():
        raise RuntimeError(f"expected a namespace with nothing but loopback, found routes: {out}")
    return True


def routes_out() -> set[str]:
    """The interfaces but loopback over which packets could leave."""
    fourth = Path("/proc/net/route").read_text().splitlines()[1:]
    ways = {line.split()[0] for line in fourth}
    sixth = Path("/proc/net/ipv6_route")  # is not there where IPv6 is not
    ways |= (
        {line.split()[-1] for line in sixth.read_text().splitlines()} if sixth.exists() else set()
    )
    return ways - {"lo"}


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
