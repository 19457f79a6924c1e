"""Reads the messages of a history, each of them once.

Agents send their whole history with every call; nearly all of it was read before. A message with
the same bytes is the same message, so what was read is kept, within a bound, by its bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from callerid.turn import Dialect, Members, Message, Part, Role, Stood
from callerid.wire import canonical, wirejson
from callerid.wire.growing import Bodies

REMEMBERED_BYTES = 32 << 20  # of messages as sent; two generations of this size are kept

Messages = tuple[Message, ...]
ReadParts = Callable[[object], tuple[Role, tuple[Part, ...]]]


class MessageReader:
    """Turns the JSON of one message into a Message, remembering what it has read."""

    def __init__(
        self, injected: canonical.Injected, remembered_bytes: int = REMEMBERED_BYTES
    ) -> None:
        self.bodies = Bodies(remembered_bytes)
        self._injected = injected
        self._bound = remembered_bytes
        self._size = 0
        self._young: defaultdict[Dialect, dict[bytes, Message]] = defaultdict(dict)
        self._old = self._young.copy()

    def read(self, dialect: Dialect, raws: Iterable[bytes], read_parts: ReadParts) -> Messages:
        """The messages that some JSON of a dialect says, each its own; raises NotJSON."""
        young, old = self._young[dialect], self._old[dialect]
        messages = []
        for raw in raws:
            message = young.get(raw)
            if message is None:
                message = old.get(raw) or self.make(raw, *read_parts(wirejson.decode(raw)))
                young[raw] = message
                self._size += len(raw)
            messages.append(message)
        if self._size > self._bound:
            self._old, self._young, self._size = self._young, defaultdict(dict), 0
        return tuple(messages)

    def make(self, raw: bytes, role: Role, parts: tuple[Part, ...]) -> Message:
        """A message with its canonical units."""
        return Message(role, parts, raw, canonical.units_of(role, parts, self._injected))

    def plain(self, text: str) -> str:
        """The words of a text, as histories are compared by them."""
        return canonical.plain(text, self._injected)


def members_with(members: Mapping[str, bytes], kept: Mapping[str, Stood]) -> Members:
    """The members of a body in their order, those kept elsewhere by what stood there."""
    return tuple((name, kept.get(name, raw)) for name, raw in members.items())
