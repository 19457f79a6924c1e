"""How a session is written down for an engine: its head, which is replaced, and its entries."""

from __future__ import annotations

import msgspec

from callerid.identity.session import State

STATES = tuple(State)


class Elsewhere(msgspec.Struct, array_like=True, frozen=True):
    """A point of another session: its number there (-1: not known), and what is asked of it."""

    session_id: str
    number: int
    link: bytes
    is_reply: bool
    state: int


Place = int | Elsewhere | None  # of a point: its number in its own session


class PointRow(msgspec.Struct, array_like=True, frozen=True):
    """A point as it stands now; `is_listed` says that it is found by its link."""

    number: int
    link: bytes
    depth: int
    turn: int
    state: int
    is_reply: bool
    said: bool
    is_listed: bool
    before: Place
    next: Place
    agent_id: str


class Words(msgspec.Struct, array_like=True, frozen=True):
    """The words with which a session opened; `is_begun`: a conversation, no side call."""

    is_begun: bool
    text: str
    at: float


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What one step has changed: points, what was said (after the first `cut`), and names."""

    points: list[PointRow]
    cut: int
    said: list[int]
    units: list[int]
    responses: list[tuple[str, int]]
    tool_ids: list[str]
    declared: list[tuple[str, str]]
    given: list[int] | None
    opening: Words | None


class Head(msgspec.Struct, array_like=True, frozen=True):
    """All of a session that does not grow with it, as it is now.

    `born` tells this copy from others that an engine may have had before it lost them; `named_at`
    is when all of its names were told last; `bound` is the upstream that it is sent to, when that
    heard of it last, and whether it is closed. `prompt` is the number of its reply, how many
    letters both have, and their names.
    """

    scope: str
    connection: str
    address: str
    user_agent: str
    born: str
    seen: float
    named_at: float
    root_id: str
    run: str
    parent_id: str
    relation: str
    agent_id: str
    calls: int
    messages: int
    head: Place
    asked: bytes
    prompt: tuple[int, int, bytes, bytes] | None
    has_declared_id: bool
    is_searched: bool
    ends_in_text: bool
    asks_tool: bool
    spoken: int
    tail: str
    errands: dict[str, list[int]]
    tasks: tuple[str, ...]
    reply: list[int]
    bound: tuple[str, float, bool] | None


_encoder = msgspec.msgpack.Encoder()
read_head = msgspec.msgpack.Decoder(Head).decode
read_entry = msgspec.msgpack.Decoder(Entry).decode


def written(value: Head | Entry) -> bytes:
    """The bytes of one of these; a half of a character, as of a cut emoji, becomes a "?"."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_whole(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _whole(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value
