"""What is on record written into a file, for its owner alone: what was said is in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlite_utils import Database

from callerid.archive import calls
from callerid.archive.calls import CallFacts
from callerid.archive.sessions import Filter
from callerid.exports.formats import FORMATS
from callerid.exports.spans import Style, newest_names

POLL_SECONDS = 0.05


def write_sessions(database: Database, name: str, sessions: Sequence[str], path: Path) -> int:
    """Write some sessions, whole, in a format; how many calls that were.

    Raises OSError, CannotExport, and NotJSON and NotPacked where a record is broken.
    """
    form, count = FORMATS[name], 0

    def found() -> Iterator[CallFacts]:
        nonlocal count
        for session in sessions:
            for call in calls.calls(database, Filter(session=session)):
                count += 1
                yield call

    with private(path) as file:
        for piece in form.write(
            database, found(), Style(form.conventions, newest_names(os.environ))
        ):
            file.write(piece)
    return count


def await_record(database: Database, call_ids: Sequence[str], seconds: float) -> None:
    """Wait until some calls are on record as they ended, but no longer than so many seconds."""
    until = time.monotonic() + seconds
    while calls.ended(database, call_ids) < len(call_ids) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


@contextmanager
def private(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into, with the folder that it is in; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", opener=_private) as file:
        yield file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
