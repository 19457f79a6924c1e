"""Where programs keep sessions: in memory, SQLite, files, Redis, or a place of their own."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

MAX_NAME = 150  # characters of a file's name; a longer one ends in a digest


class SessionStore(Protocol):
    """Keeps what `Session.to_dict` gives, by the session's id."""

    def save(self, session_id: str, data: dict[str, object]) -> None:
        """Keep a session, in place of what was kept of it before."""
        ...

    def load(self, session_id: str) -> dict[str, object] | None:
        """A session that was kept; None where none was."""
        ...

    def delete(self, session_id: str) -> bool:
        """Forget a session; whether there was one."""
        ...

    def list_sessions(self) -> list[str]:
        """The ids of all that are kept, in the order of the alphabet."""
        ...


class BadStore(ValueError):
    """A store that cannot be opened; the message says what was expected."""


class MemoryStore:
    """Keeps sessions for as long as the program runs; what is given out is a copy."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def save(self, session_id: str, data: dict[str, object]) -> None:
        """Keep a session."""
        self._kept[session_id] = json.dumps(data)

    def load(self, session_id: str) -> dict[str, object] | None:
        """A session that was kept."""
        kept = self._kept.get(session_id)
        return json.loads(kept) if kept is not None else None

    def delete(self, session_id: str) -> bool:
        """Forget a session."""
        return self._kept.pop(session_id, None) is not None

    def list_sessions(self) -> list[str]:
        """The ids of all that are kept."""
        return sorted(self._kept)


class SQLiteStore:
    """Keeps sessions in a table of a SQLite file (mode 0600 where it makes it); any thread."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._ask(
            "create table if not exists stored_sessions (id text primary key, data text not null)"
        )

    def save(self, session_id: str, data: dict[str, object]) -> None:
        """Keep a session."""
        words = [session_id, json.dumps(data)]
        self._ask("insert or replace into stored_sessions (id, data) values (?, ?)", *words)

    def load(self, session_id: str) -> dict[str, object] | None:
        """A session that was kept."""
        found, _ = self._ask("select data from stored_sessions where id = ?", session_id)
        return json.loads(str(found[0][0])) if found else None

    def delete(self, session_id: str) -> bool:
        """Forget a session."""
        return self._ask("delete from stored_sessions where id = ?", session_id)[1] > 0

    def list_sessions(self) -> list[str]:
        """The ids of all that are kept."""
        return [str(id) for (id,) in self._ask("select id from stored_sessions order by id")[0]]

    def _ask(self, query: str, *words: str) -> tuple[list[tuple[object, ...]], int]:
        """The rows that a statement gives, and how many it changed."""
        connection = sqlite3.connect(self._path)
        try:
            with connection:
                cursor = connection.execute(query, words)
                return cursor.fetchall(), cursor.rowcount
        finally:
            connection.close()


class FileStore:
    """Keeps each session in a JSON file (mode 0600) of a folder, which is made with the first."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def save(self, session_id: str, data: dict[str, object]) -> None:
        """Keep a session; the file is there whole or as it was before."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump({"id": session_id, "data": data}, file)
            os.replace(name, self._file(session_id))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def load(self, session_id: str) -> dict[str, object] | None:
        """A session that was kept."""
        try:
            kept = json.loads(self._file(session_id).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return dict(kept["data"])

    def delete(self, session_id: str) -> bool:
        """Forget a session."""
        try:
            self._file(session_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def list_sessions(self) -> list[str]:
        """The ids of all that are kept."""
        files = self._folder.glob("*.json") if self._folder.is_dir() else []
        return sorted(str(json.loads(file.read_text("utf-8"))["id"]) for file in files)

    def _file(self, session_id: str) -> Path:
        """The file of a session: no id leads out of the folder, and none is too long."""
        name = quote(session_id, safe="").replace(".", "%2E")
        if len(name) > MAX_NAME:
            name = f"{name[:MAX_NAME]}-{hashlib.sha256(session_id.encode()).hexdigest()[:16]}"
        return self._folder / f"{name}.json"


class RedisStore:
    """Keeps sessions in Redis or Valkey, each under a key of its own; takes a client or a URL.

    A URL (redis://HOST:PORT/DB) needs the library: pip install 'callerid[redis]'. Raises BadStore
    where it is missing, and what the client raises.
    """

    def __init__(self, redis: Any, *, prefix: str = "session:") -> None:
        self._redis = _redis_at(redis) if isinstance(redis, str) else redis
        self._prefix = prefix

    def save(self, session_id: str, data: dict[str, object]) -> None:
        """Keep a session."""
        self._redis.set(self._prefix + session_id, json.dumps(data))

    def load(self, session_id: str) -> dict[str, object] | None:
        """A session that was kept."""
        kept = self._redis.get(self._prefix + session_id)
        return json.loads(kept) if kept is not None else None

    def delete(self, session_id: str) -> bool:
        """Forget a session."""
        return bool(self._redis.delete(self._prefix + session_id))

    def list_sessions(self) -> list[str]:
        """The ids of all that are kept."""
        keys = self._redis.scan_iter(match=f"{_literally(self._prefix)}*")
        names = (key.decode() if isinstance(key, bytes) else str(key) for key in keys)
        return sorted({name.removeprefix(self._prefix) for name in names})


def _redis_at(url: str) -> Any:
    try:
        from redis import Redis
    except ImportError:
        raise BadStore(f"{url}: redis is missing: pip install 'callerid[redis]'") from None
    try:
        return Redis.from_url(url)
    except ValueError as error:
        raise BadStore(f"expected redis://HOST:PORT/DB; {error}") from None


def _literally(text: str) -> str:
    """A text in which nothing is a pattern of Redis."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


_KINDS: dict[str, Callable[[str], SessionStore]] = {
    "sqlite": SQLiteStore,
    "file": FileStore,
    "redis": lambda rest: RedisStore(f"redis:{rest}"),
    "rediss": lambda rest: RedisStore(f"rediss:{rest}"),
}


def open_store(name: str) -> SessionStore:
    """The store that a setting names; raises BadStore.

    memory, sqlite:FILE, file:FOLDER, redis://HOST:PORT/DB, or a dotted path of your own, as
    my.stores:OurStore: a class or a function that is called without arguments.
    """
    if name == "memory":
        return MemoryStore()
    kind, _, rest = name.partition(":")
    if kind in _KINDS and rest:
        return _KINDS[kind](rest)
    try:
        made = getattr(importlib.import_module(kind), rest)()
    except (ImportError, AttributeError, ValueError) as error:
        raise BadStore(
            "expected memory, sqlite:FILE, file:FOLDER, redis://HOST:PORT/DB, or a class of yours "
            f"as package.module:Name; got {name!r}: {error}"
        ) from None
    missing = [what for what in _ASKED if not callable(getattr(made, what, None))]
    if missing:
        raise BadStore(f"{name}: expected a SessionStore, but it has no {', '.join(missing)}")
    return made  # type: ignore[no-any-return]


_ASKED = ("save", "load", "delete", "list_sessions")
