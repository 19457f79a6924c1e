"""Messages without their words: the digests by which a history is recognised, and nothing else."""

from __future__ import annotations

from callerid.turn import Message, Role, Unit
from callerid.wire import wirejson

_NAME = "callerid_units"
_BEGINNING = f'{{"{_NAME}":'.encode()


def unsaid(message: Message) -> Message:
    """What is kept of a message: who, and of each thing said a digest and how long it was."""
    units = [
        [unit.role.value, unit.digest.hex(), unit.weight, int(unit.is_tool_result)]
        for unit in message.units
    ]
    raw = wirejson.encode({_NAME: units, "role": message.role.value})
    return Message(message.role, (), raw)


def read(raw: bytes) -> Message | None:
    """A message of which only that was kept; None where it is another. Raises NotJSON."""
    if not raw.startswith(_BEGINNING):
        return None
    value = wirejson.decode(raw)
    units = [
        Unit(Role(role), bytes.fromhex(digest), weight, bool(is_tool_result))
        for role, digest, weight, is_tool_result in wirejson.at(value, _NAME)  # type: ignore[attr-defined]
    ]
    return Message(Role(str(wirejson.at(value, "role"))), (), raw, tuple(units))
