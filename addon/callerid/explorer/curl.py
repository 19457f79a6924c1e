"""A call as a curl command, to be made again by hand: the key is left for the shell to fill in."""

from __future__ import annotations

import re
import shlex

from callerid.archive.calls import CallFacts
from callerid.credentials import MASK
from callerid.traces import bodies

MOST = 20_000  # characters of a body on the command line; a longer one is a file
KEY = '"$API_KEY"'
# What curl sets itself, or what belonged to the connection.
_NOT_SENT = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding",
             "content-encoding", "proxy-connection", "expect")  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BAD_IN_BODY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def curl(facts: CallFacts, body: bytes | None, file_name: str, most: int = MOST) -> str:
    """The command; every word of it that a stranger wrote is quoted, and none can end the quote.

    A body of more than `most` characters is read from a file.
    """
    lines = [f"curl -X {_word(facts.method)} {_with_key(facts.url)}"]
    for name, value in bodies.pairs(facts.request_headers):
        if name.lower() not in _NOT_SENT and not name.startswith(":"):
            lines.append(f"-H {_with_key(f'{name}: {value}')}")
    if body is not None:
        text = body.decode("utf-8", "replace")
        if len(text) > most or _BAD_IN_BODY.search(text):
            lines.append(f"--data-binary @{_word(file_name)}")
        else:
            lines.append(f"--data-binary {_word(text, keeps_lines=True)}")
    return " \\\n  ".join(lines)


def _word(text: str, *, keeps_lines: bool = False) -> str:
    return shlex.quote(text if keeps_lines else _CONTROL.sub("", text))


def _with_key(text: str) -> str:
    """A word in which the shell puts the key where one was masked."""
    return KEY.join(_word(part) if part else "" for part in text.split(MASK))
