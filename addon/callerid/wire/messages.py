"""Reads the messages of a history, each of them once.

Agents send their whole history with every call; nearly all of it was read before. A message with
the same bytes is the same message, so what was read is kept, within a bound, by its bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TypeVar, cast

from callerid.turn import Dialect, Members, Message, Part, Role, Stood, Text
from callerid.wire import canonical, wirejson
from callerid.wire.growing import Bodies

REMEMBERED_BYTES = 32 << 20  # of messages as sent; two generations of this size are kept
SHORT, SHORT_TEXTS = 2400, 512  # characters, and texts: the newest are looked at in several places
PROMPT_BYTES = 8 << 20  # of prompts and lists of tools as sent; when full, it begins anew

Messages = tuple[Message, ...]
ReadParts = Callable[[object], tuple[Role, tuple[Part, ...]]]
Made = TypeVar("Made")
_SPEAKERS = (Role.USER, Role.ASSISTANT)


class MessageReader:
    """Turns the JSON of one message into a Message, remembering what it has read.

    `injected` finds what clients put into messages; without it they have no units, for those who
    only ask what was said.
    """

    def __init__(
        self, injected: canonical.Injected | None, remembered_bytes: int = REMEMBERED_BYTES
    ) -> None:
        self.bodies = Bodies(remembered_bytes)
        self._injected = injected
        self._plain = partial(canonical.plain, injected=injected or canonical.NOTHING_INJECTED)
        self._plain_short = lru_cache(maxsize=SHORT_TEXTS)(self._plain)
        self._bound = remembered_bytes
        self._size = 0
        self._young: defaultdict[Dialect, dict[bytes, Message]] = defaultdict(dict)
        self._old = self._young.copy()
        self._prompts: dict[tuple[object, bytes], object] = {}
        self._prompts_size = 0

    def read(self, dialect: Dialect, raws: Iterable[bytes], read_parts: ReadParts) -> Messages:
        """The messages that some JSON of a dialect says, each its own; raises NotJSON."""
        young, old = self._young[dialect], self._old[dialect]
        raws = list(raws)
        messages = list(map(young.get, raws))  # most of them are there, and a loop would take long
        for at in [at for at, message in enumerate(messages) if message is None]:
            raw = raws[at]
            message = young.get(raw) or old.get(raw)
            message = message or self.make(raw, *read_parts(wirejson.decode(raw)))
            messages[at] = young[raw] = message
            self._size += len(raw)
        if self._size > self._bound:
            self._old, self._young, self._size = self._young, defaultdict(dict), 0
        return tuple(cast(list[Message], messages))

    def prompt(self, raw: bytes, read: Callable[[object], Made]) -> Made:
        """What a function makes of a prompt or of tools, which come again with nearly every call.

        b"" is none. Raises NotJSON.
        """
        if not raw:
            return read(None)
        found = self._prompts.get((read, raw), self)
        if found is self:
            found = read(wirejson.decode(raw))
            self._prompts_size += len(raw)
            if self._prompts_size > PROMPT_BYTES:
                self._prompts.clear()
                self._prompts_size = len(raw)
            if len(raw) <= PROMPT_BYTES:
                self._prompts[read, raw] = found
        return cast(Made, found)

    def make(self, raw: bytes, role: Role, parts: tuple[Part, ...]) -> Message:
        """A message with its canonical units."""
        if self._injected is None:
            return Message(role, parts, raw)
        units = canonical.units_of(role, parts, self._injected)
        is_spoken = role in _SPEAKERS and any(type(part) is Text for part in parts)
        return Message(role, parts, raw, units, is_spoken)

    def plain(self, text: str) -> str:
        """The words of a text, one space between them."""
        return self._plain_short(text) if len(text) <= SHORT else self._plain(text)


def members_with(members: Mapping[str, bytes], kept: Mapping[str, Stood]) -> Members:
    """The members of a body in their order, those kept elsewhere by what stood there."""
    return tuple((name, kept.get(name, raw)) for name, raw in members.items())
