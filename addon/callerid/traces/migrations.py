"""The schema of traces.db, grown in numbered steps that are only ever added to (schema/*.sql)."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlite_utils import Database, Migrations

STEPS = sorted(Path(__file__).with_name("schema").glob("*.sql"))

schema = Migrations("callerid")


def _step(path: Path) -> Callable[[Database], None]:
    """What takes a step; with the first comes the key with which credentials are digested."""

    def take(db: Database) -> None:
        for statement in statements(path.read_text("utf-8")):
            db.execute(statement)
        if path == STEPS[0]:
            key = {"name": "credential_digest_key", "value": secrets.token_bytes(32)}
            db.table("facts").insert(key)

    return take


def statements(text: str) -> Iterator[str]:
    """The statements of a file, each of which ends at the end of a line.

    sqlite3's own executescript would commit the transaction that a step is taken in.
    """
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


for number, path in enumerate(STEPS, 1):
    name = f"m{path.stem}"
    if not name.startswith(f"m{number:03}_"):
        raise RuntimeError(f"{path}: expected the step with the number {number:03}")
    schema(name=name)(_step(path))
