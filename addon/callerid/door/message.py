"""One message as a program sees it: who, what, and its JSON as it was sent."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from callerid import turn
from callerid.archive.transcript import Pieces, Words, pieces_of
from callerid.turn import Role
from callerid.wire import wirejson


class Message(msgspec.Struct, frozen=True):
    """One message: `parts` are words, tool calls, their answers, thoughts, and what is no text.

    `raw` is its JSON in the `dialect` that it was sent in; None where a program has made it.
    """

    role: Role
    parts: tuple[Pieces, ...] = ()
    raw: object = None
    dialect: str = ""

    @classmethod
    def user(cls, text: str) -> Message:
        """Words of a person."""
        return cls(Role.USER, (Words(text),))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """Words of a model."""
        return cls(Role.ASSISTANT, (Words(text),))

    @classmethod
    def recorded(cls, message: turn.Message, dialect: str) -> Message:
        """A message that is on record."""
        return cls(message.role, pieces_of(message), wirejson.decode(message.raw), dialect)

    @property
    def text(self) -> str:
        """The words alone; a model's go on in the middle of a sentence."""
        between = "" if self.role is Role.ASSISTANT else "\n"
        return between.join(part.text for part in self.parts if isinstance(part, Words))

    def to_dict(self) -> dict[str, object]:
        """The message as JSON has it."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return found | {"text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Message:
        """A message of `to_dict`, or one with a role and a text; raises ValueError."""
        try:
            if "parts" not in data:
                data = {**data, "parts": [{"type": "text", "text": data["text"]}]}
            return msgspec.convert(data, cls)
        except (msgspec.ValidationError, KeyError) as error:
            raise ValueError(f"expected a message with role and parts, or text: {error}") from None
