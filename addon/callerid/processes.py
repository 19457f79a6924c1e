"""Processes of our own: Python once more, with our modules, and nobody else's in Python's place."""

from __future__ import annotations

import subprocess
import sys

from callerid import files

# Other scripts may have put folders on the path of modules in which something is named like a
# module of Python itself: those come last, and ours first.
_MAIN = """
import runpy, sys
module, count, own, *others = sys.argv[1:]
rest, others = others[: int(count)], others[int(count) :]
sys.path[:0] = [own] if own not in sys.path else []
sys.path += [path for path in others if path not in sys.path]
sys.argv = [module, *rest]
runpy.run_module(module, run_name="__main__")
"""


def start(module: str, *arguments: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start a module of ours, to be told and to answer through pipes; raises OSError.

    It ends with its input: a terminal's Ctrl-C, which is for all of its group, does not reach it.
    Nothing is imported from the folder that it is started in.
    """
    given = [str(len(arguments)), str(files.PACKAGES), *arguments, *filter(None, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _MAIN, module, *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )
