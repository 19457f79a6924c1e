"""Reads the messages of a history, each of them once.

Agents send their whole history with every call; nearly all of it was read before. A message with
the same bytes is the same message, so what was read is kept, within a bound, by its bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from callerid.turn import Dialect, Message, Part, Role
from callerid.wire import canonical, wirejson

REMEMBERED_BYTES = 32 << 20  # of messages as sent; two generations of this size are kept

ReadParts = Callable[[object], tuple[Role, tuple[Part, ...]]]


class MessageReader:
    """Turns the JSON of one message into a Message, remembering what it has read."""

    def __init__(
        self, injected: canonical.Injected, remembered_bytes: int = REMEMBERED_BYTES
    ) -> None:
        self._injected = injected
        self._bound = remembered_bytes
        self._size = 0
        self._young: dict[tuple[Dialect, bytes], Message] = {}
        self._old: dict[tuple[Dialect, bytes], Message] = {}

    def read(self, dialect: Dialect, raw: bytes, read_parts: ReadParts) -> Message:
        """The message that some JSON of a dialect says; raises NotJSON."""
        key = (dialect, raw)
        message = self._young.get(key)
        if message is None:
            message = self._old.get(key) or self.make(raw, *read_parts(wirejson.decode(raw)))
            self._keep(key, message)
        return message

    def make(self, raw: bytes, role: Role, parts: tuple[Part, ...]) -> Message:
        """A message with its canonical units."""
        return Message(role, parts, raw, canonical.units_of(role, parts, self._injected))

    def plain(self, text: str) -> str:
        """The words of a text, as histories are compared by them."""
        return canonical.plain(text, self._injected)

    def _keep(self, key: tuple[Dialect, bytes], message: Message) -> None:
        self._size += len(key[1])
        if self._size > self._bound:
            self._old, self._young, self._size = self._young, {}, len(key[1])
        self._young[key] = message
