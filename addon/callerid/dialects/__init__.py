"""Wire formats: which one a request speaks, and who reads it.

A dialect is a module that satisfies `DialectReader`; they are asked in the order of `DIALECTS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from callerid import sse, wirejson
from callerid.dialects import anthropic, gemini, openai_chat, openai_responses
from callerid.messages import MessageReader
from callerid.turn import Call, Dialect, Reply


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

    NAME: Dialect
    PATH: re.Pattern[str]
    Stream: type[ReplyStream]

    @staticmethod
    def fits(members: Mapping[str, bytes]) -> bool:
        """Whether a body with these top-level members has the shape of this dialect's calls."""
        ...

    @staticmethod
    def read_call(path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
        """The call that the members of a body make; raises NotJSON where they are broken."""
        ...

    @staticmethod
    def read_reply(body: object, reader: MessageReader) -> Reply:
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


# typing does not yet see a module as a Protocol with static methods of its own.
DIALECTS: tuple[DialectReader, ...] = (anthropic, openai_chat, openai_responses, gemini)
_BY_NAME = {dialect.NAME: dialect for dialect in DIALECTS}
