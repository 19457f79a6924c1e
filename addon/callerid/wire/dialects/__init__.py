"""Wire formats: which one a request speaks, and who reads it.

A dialect is a module that satisfies `DialectReader`; they are asked in the order of `DIALECTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from callerid.turn import Call, Dialect, Part, Reply, Role
from callerid.wire import sse, wirejson
from callerid.wire.dialects import anthropic, gemini, openai_chat, openai_responses
from callerid.wire.messages import MessageReader


class ReplyStream(Protocol):
    """Puts the events of a stream together into the body of an unstreamed reply."""

    is_complete: bool

    def take(self, event: sse.Event) -> None:
        """Read the next event; what it cannot read it skips."""
        ...

    def body(self) -> object:
        """The body so far, in the provider's unstreamed shape."""
        ...


class DialectReader(Protocol):
    """What a module in this package offers."""

    @property
    def NAME(self) -> Dialect:  # noqa: N802 - a constant of the module
        """Which dialect it reads."""
        ...

    @property
    def PATH(self) -> re.Pattern[str]:  # noqa: N802
        """What the path of a call ends in, without its query."""
        ...

    @property
    def Stream(self) -> Callable[[], ReplyStream]:  # noqa: N802
        """Makes what puts a streamed reply together."""
        ...

    def fits(self, members: Mapping[str, bytes]) -> bool:
        """Whether a body with these top-level members has the shape of this dialect's calls."""
        ...

    def read_call(self, path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
        """The call that the members of a body make; raises NotJSON where they are broken."""
        ...

    def read_parts(self, value: object) -> tuple[Role, tuple[Part, ...]]:
        """The role and parts of one message of a history."""
        ...

    def read_reply(self, body: object, reader: MessageReader) -> Reply:
        """The reply that an unstreamed body makes."""
        ...


class Recognised(NamedTuple):
    """A dialect and the members of the body in which it was recognised."""

    dialect: DialectReader
    members: dict[str, bytes]


def by_path(path: str) -> list[DialectReader]:
    """The dialects that a path may be of; nothing else of a request is looked at where none is."""
    path = path.partition("?")[0].rstrip("/")
    return [dialect for dialect in DIALECTS if dialect.PATH.search(path)]


def by_shape(candidates: list[DialectReader], body: bytes) -> Recognised | None:
    """The dialect among the candidates that fits the shape of a body; raises NotJSON."""
    members = wirejson.members(body)
    for dialect in candidates:
        if dialect.fits(members):
            return Recognised(dialect, members)
    return None


def reader_of(name: Dialect) -> DialectReader:
    """The module that reads a dialect."""
    return _BY_NAME[name]


DIALECTS: tuple[DialectReader, ...] = (anthropic, openai_chat, openai_responses, gemini)
_BY_NAME = {dialect.NAME: dialect for dialect in DIALECTS}
