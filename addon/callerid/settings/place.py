"""Where in a call a value stands, as config/clients.yaml writes it: header:NAME, body:A.B."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache

import msgspec


class Where(StrEnum):
    """In what part of a call to look."""

    HEADER = "header"
    BODY = "body"
    SYSTEM = "system"  # the system prompt
    USER = "user"  # the newest user message


_WRITTEN = re.compile(
    r"(?:(?P<where>header|body):(?P<name>[^#=~]+)(?:=(?P<member>[^#=~]+)|\#(?P<inside>[^#=~]+))?"
    r"|(?P<text>system|user))(?:~(?P<pattern>.+))?",
    re.DOTALL,
)


class Place(msgspec.Struct, frozen=True):
    """A place, and how the value is taken out of what is there.

    `member` is a name in a list of name=value pairs, `inside` a path in JSON, and of what
    `pattern` finds the first group (or all) is the value.
    """

    where: Where
    name: str = ""
    member: str = ""
    inside: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None

    @property
    def is_plain_header(self) -> bool:
        """Whether it is all of a header."""
        return self.where is Where.HEADER and not (self.member or self.inside or self.pattern)


@cache
def place(written: str) -> Place:
    """The place that a text means; raises ValueError."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError(
            "a place is header:NAME, body:PATH, system or user; then =MEMBER for one of name=value "
            "pairs or #PATH for JSON inside; then ~PATTERN for what must be found"
        )
    try:
        pattern = re.compile(found["pattern"]) if found["pattern"] else None
    except re.error as error:
        raise ValueError(f"{found['pattern']!r} is no regular expression: {error}") from None
    where = Where(found["where"] or found["text"])
    name = found["name"] or ""
    inside = tuple(found["inside"].split(".")) if found["inside"] else ()
    if where is Where.HEADER:
        name = name.lower()
    return Place(where, name, found["member"] or "", inside, pattern)
