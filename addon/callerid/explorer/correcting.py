"""Corrections from a page: what a form says, done by a connection of its own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from sqlite_utils import Database

from callerid.archive import corrections
from callerid.archive import sessions as archive
from callerid.archive.corrections import BadCorrection
from callerid.explorer.record import NoRecord
from callerid.ids import new_id
from callerid.traces.database import BadDatabase, open_database
from callerid.turn import Relation

Form = Mapping[str, str]
DONE = {
    "rename": "The name is on record.",
    "link": "It is below its parent now.",
    "split": "From here on it is a session of its own.",
    "merge": "The calls of the other session are here now.",
}


def corrected(path: Path, form: Form) -> str:
    """Do what a form says; the address of the session that came of it.

    Raises NotFound, BadCorrection, and NoRecord where the file cannot be written.
    """
    does = form.get("do", "")
    if does not in _KINDS:
        raise BadCorrection(f"expected one of {', '.join(_KINDS)}, got {does!r}")
    if not path.exists():
        raise NoRecord(f"{path}: nothing is on record yet")
    try:
        with closing(open_database(path)) as database:
            id = _KINDS[does](database, form, time.time())
    except (BadDatabase, sqlite3.Error) as error:
        raise NoRecord(f"{path}: nothing was changed: {error}") from None
    return f"/session?{urlencode({'id': id, 'did': does})}"


def _rename(database: Database, form: Form, now: float) -> str:
    id = _session(database, form, "session")
    corrections.rename(database, id, form.get("name", ""), now)
    return id


def _link(database: Database, form: Form, now: float) -> str:
    id, parent = _session(database, form, "session"), _session(database, form, "other")
    relation = form.get("relation", "")
    if relation not in list(Relation):
        raise BadCorrection(f"expected one of {', '.join(Relation)}, got {relation!r}")
    corrections.link(database, id, parent, Relation(relation), now)
    return id


def _split(database: Database, form: Form, now: float) -> str:
    wanted, id = form.get("call", "").strip(), new_id("sess")
    if not wanted:
        raise BadCorrection("expected the call from which on it is another session, got none")
    corrections.split(database, archive.call_id(database, wanted), id, now)
    return id


def _merge(database: Database, form: Form, now: float) -> str:
    id, other = _session(database, form, "session"), _session(database, form, "other")
    corrections.merge(database, id, other, now)
    return id


def _session(database: Database, form: Form, name: str) -> str:
    wanted = form.get(name, "").strip()
    if not wanted:
        raise BadCorrection("expected the id of a session, or its beginning, got none")
    return archive.session_id(database, wanted)


_KINDS: dict[str, Callable[[Database, Form, float], str]] = {
    "rename": _rename, "link": _link, "split": _split, "merge": _merge,
}  # fmt: skip
