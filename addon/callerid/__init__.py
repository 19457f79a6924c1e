"""Caller ID for LLM traffic: which agent, which session, whose child, and how do we know."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callerid.archive.calls import CallFacts
    from callerid.archive.sessions import BadTime, Cost, NotFound
    from callerid.archive.transcript import Answered, Asked, Other, Thought, Words
    from callerid.door.message import Message
    from callerid.door.session import Session, Usage
    from callerid.door.stores import (
        BadStore,
        FileStore,
        MemoryStore,
        RedisStore,
        SessionStore,
        SQLiteStore,
        open_store,
    )
    from callerid.door.traces import Traces
    from callerid.traces.database import BadDatabase

__version__ = "0.1.0"

__all__ = [
    "Answered",
    "Asked",
    "BadDatabase",
    "BadStore",
    "BadTime",
    "CallFacts",
    "Cost",
    "FileStore",
    "MemoryStore",
    "Message",
    "NotFound",
    "Other",
    "RedisStore",
    "SQLiteStore",
    "Session",
    "SessionStore",
    "Thought",
    "Traces",
    "Usage",
    "Words",
    "__version__",
    "open_store",
]

# What programs may use is loaded when it is first asked for: the proxy never asks.
_PLACES = {
    "archive.calls": ("CallFacts",),
    "archive.sessions": ("BadTime", "Cost", "NotFound"),
    "archive.transcript": ("Answered", "Asked", "Other", "Thought", "Words"),
    "door.message": ("Message",),
    "door.session": ("Session", "Usage"),
    "door.stores": (
        "BadStore", "FileStore", "MemoryStore", "RedisStore", "SQLiteStore", "SessionStore",
        "open_store",
    ),
    "door.traces": ("Traces",),
    "traces.database": ("BadDatabase",),
}  # fmt: skip
_HOME = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
