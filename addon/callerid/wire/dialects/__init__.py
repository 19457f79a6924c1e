"""Wire formats: which one a request speaks, and who reads it.

A dialect is a module that satisfies `DialectReader`; they are asked in the order of `DIALECTS`.
Bedrock's InvokeModel is no dialect: it takes those of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from callerid.turn import Call, Dialect, Part, Reply, Role
from callerid.wire import sse
from callerid.wire.dialects import (
    anthropic,
    bedrock_converse,
    bedrock_invoke,
    cohere,
    cohere_v1,
    completions,
    embeddings,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
)
from callerid.wire.growing import Bodies
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


class CallReader(Protocol):
    """What a module offers that knows calls, in whatever dialect they are."""

    @property
    def PATH(self) -> re.Pattern[str]:  # noqa: N802 - a constant of the module
        """What the path of a call ends in, without its query."""
        ...

    def fits(self, members: Mapping[str, bytes]) -> bool:
        """Whether a body with these top-level members has the shape of this dialect's calls."""
        ...

    def read_call(self, path: str, members: Mapping[str, bytes], reader: MessageReader) -> Call:
        """The call that the members of a body make; raises NotJSON where they are broken.

        The path comes without its query, and without a slash at its end.
        """
        ...


class DialectReader(CallReader, Protocol):
    """What a module offers that reads a dialect."""

    @property
    def NAME(self) -> Dialect:  # noqa: N802
        """Which dialect it reads."""
        ...

    @property
    def Stream(self) -> Callable[[], ReplyStream]:  # noqa: N802
        """Makes what puts a streamed reply together."""
        ...

    def read_parts(self, value: object) -> tuple[Role, tuple[Part, ...]]:
        """The role and parts of one message of a history."""
        ...

    def read_reply(self, body: object, reader: MessageReader) -> Reply:
        """The reply that an unstreamed body makes."""
        ...


class Recognised(NamedTuple):
    """Who reads a call, and the members of the body in which it was recognised."""

    dialect: CallReader
    members: dict[str, bytes]


def by_path(path: str) -> list[CallReader]:
    """Who may read the calls at a path; nothing else of a request is looked at where nobody may."""
    path = path.partition("?")[0].rstrip("/")
    return [known for known in _CALL_READERS if known.PATH.search(path)]


def by_shape(candidates: list[CallReader], body: bytes, bodies: Bodies) -> Recognised | None:
    """The dialect among the candidates that fits the shape of a body; raises NotJSON."""
    members = bodies.members(body)
    for dialect in candidates:
        if dialect.fits(members):
            return Recognised(dialect, members)
    return None


def reader_of(name: Dialect) -> DialectReader:
    """The module that reads a dialect."""
    return _BY_NAME[name]


DIALECTS: tuple[DialectReader, ...] = (
    anthropic,
    openai_chat,
    openai_responses,
    gemini,
    bedrock_converse,
    cohere,
    cohere_v1,
    ollama,
    completions,
    embeddings,
)
_CALL_READERS: tuple[CallReader, ...] = (*DIALECTS, bedrock_invoke)
_BY_NAME = {dialect.NAME: dialect for dialect in DIALECTS}
