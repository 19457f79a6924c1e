"""The session client: agents whose conversations callerid remembers. Needs callerid[client]."""

from callerid.client.agent import Agent
from callerid.client.errors import AgentError
from callerid.client.events import Event, Response
from callerid.client.session import Session
from callerid.client.stores import (
    FileStore,
    MemoryStore,
    RedisStore,
    SessionStore,
    SQLiteStore,
    open_store,
)
from callerid.client.tools import tool
from callerid.door.message import Message

__all__ = [
    "Agent",
    "AgentError",
    "Event",
    "FileStore",
    "MemoryStore",
    "Message",
    "RedisStore",
    "Response",
    "SQLiteStore",
    "Session",
    "SessionStore",
    "open_store",
    "tool",
]
