"""Where sessions can be kept: the stores of the door, under the name that programs look for."""

from __future__ import annotations

from callerid.door.stores import (
    BadStore,
    FileStore,
    MemoryStore,
    RedisStore,
    SessionStore,
    SQLiteStore,
    open_store,
)

__all__ = [
    "BadStore",
    "FileStore",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "SessionStore",
    "open_store",
]
