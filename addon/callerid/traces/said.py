"""What was said, as it is stored: each message and each tool schema once, by its hash.

A list of tools, and a system prompt of several blocks, is stored as the list of its parts: clients
add a tool, or count in a block of their prompt, and the rest stays what it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from callerid import credentials
from callerid.traces import folds
from callerid.traces.folds import Line
from callerid.traces.layout import COMPACT, SPACED, Layout, array, found_array
from callerid.traces.pack import packed
from callerid.traces.rows import Row
from callerid.turn import Message, Part, Reference, Role, Text, ToolCall, ToolResult
from callerid.wire import wirejson

KNOWN = 20_000  # ids of messages that are stored for certain
REMEMBERED_BYTES = 16 << 20  # of messages as sent, twice: what is stored again and again
PACKED_FROM = 1024  # bytes; shorter JSON stays readable
PAYS = 0.8  # packed, it must be so much smaller

SYSTEM = "system"
TOOLS = "tools"
TOOL_SCHEMA = "tool_schema"
BLOCK = "system_block"
_PART_OF = {SYSTEM: BLOCK, TOOLS: TOOL_SCHEMA}
Hidden = tuple[str, ...]


class Kept(NamedTuple):
    """Under which id something is stored, and whether as it was sent: without masks."""

    id: str
    is_as_sent: bool


class Shelf:
    """Knows what is stored already; what is not is collected in `new`, as rows by their ids.

    A history comes again with every call, and nearly all of it as the same objects (wire/messages),
    so what is known is found by the object itself.
    """

    def __init__(self) -> None:
        self.new: dict[str, Row] = {}
        self._stored: OrderedDict[str, None] = OrderedDict()
        self._young = _Generation()
        self._old = _Generation()

    def messages(self, messages: tuple[Message, ...], hidden: Hidden) -> tuple[list[str], bool]:
        """The ids of some messages, and whether all are stored as they were sent."""
        known = self._young.ids.get(hidden, {})
        ids: list[str | None] = list(map(known.get, map(id, messages)))
        if None in ids:
            ids = [
                given or self._message(message, hidden)
                for given, message in zip(ids, messages, strict=True)
            ]
        found = [given for given in ids if given is not None]
        altered = self._young.altered
        return found, not altered or altered.isdisjoint(found)

    def prompt(self, role: str, raw: bytes, text: str, hidden: Hidden) -> Kept | None:
        """The id of a system prompt or of the tools, which stand outside the messages."""
        if not raw:
            return None
        key = (role, hidden, len(raw), raw[-64:])
        for generation in (self._young, self._old):
            known = generation.prompts.get(key)
            if known is not None and known[0] == raw:
                return known[1]
        kept = self._prompt(role, raw, text, hidden)
        self._make_room(len(raw))
        self._young.prompts[key] = raw, kept
        return kept

    def take_new(self) -> list[Row]:
        """The rows that were not stored before; from now on they are."""
        rows, self.new = list(self.new.values()), {}
        for row in rows:
            self._stored[str(row["id"])] = None
        while len(self._stored) > KNOWN:
            self._stored.popitem(last=False)
        return rows

    def _message(self, message: Message, hidden: Hidden) -> str:
        old = self._old.ids.get(hidden, {}).get(id(message))
        if old is not None:
            kept = Kept(old, old not in self._old.altered)
        else:
            kept = self._keep(message.role.value, _lines(message), message.raw, hidden)
        self._make_room(len(message.raw))
        self._young.ids.setdefault(hidden, {})[id(message)] = kept.id
        self._young.alive.append(message)
        if not kept.is_as_sent:
            self._young.altered.add(kept.id)
        return kept.id

    def _make_room(self, size: int) -> None:
        self._young.size += size
        if self._young.size > REMEMBERED_BYTES:
            self._old, self._young = self._young, _Generation()
            self._young.size = size

    def _prompt(self, role: str, raw: bytes, text: str, hidden: Hidden) -> Kept:
        shown = credentials.masked_json(raw) if role == TOOLS else raw
        kept = self._parts(role, shown, hidden) or self._keep(
            role, [Line(text, is_text=True)], shown, hidden
        )
        return Kept(kept.id, kept.is_as_sent and shown == raw)

    def _parts(self, role: str, raw: bytes, hidden: Hidden) -> Kept | None:
        """The id of an array of several parts; None where it is better stored whole."""
        part = _PART_OF.get(role)
        if part is None or not raw.startswith(b"["):
            return None
        items = wirejson.items(raw)
        layout = _layout_of(raw, items)
        if len(items) < 2 or layout is None:
            return None
        kept = [self.prompt(part, item, _words_of(part, item), hidden) for item in items]
        gaps = (layout.item_open, layout.item_comma, layout.item_close)
        body = wirejson.encode([gap.decode() for gap in gaps])
        parts = wirejson.encode([each.id for each in kept if each])
        id = _hash(role, body + parts)
        if not self._is_stored(id):
            self.new[id] = {
                "id": id,
                "role": role,
                "text": None,
                "body": body.decode(),
                "folds": None,
                "parts": parts.decode(),
            }
        return Kept(id, all(each is not None and each.is_as_sent for each in kept))

    def _keep(self, role: str, lines: Iterable[Line], raw: bytes, hidden: Hidden) -> Kept:
        body = credentials.without(raw, hidden)
        id = _hash(role, body)
        if not self._is_stored(id):
            # What is escaped in JSON may be a secret that was not found in it.
            is_plain = body is raw and b"\\u" not in raw and b"\\/" not in raw
            shown = [
                line if is_plain and line.text.isascii() else _shown(line, hidden)
                for line in lines
                if line.text
            ]
            rest, folded = folds.folded(body, shown)
            self.new[id] = {
                "id": id,
                "role": role,
                "text": _joined(shown) or None,
                "body": _smallest(rest),
                "folds": folds.written(folded),
                "parts": None,
            }
        return Kept(id, body == raw)

    def _is_stored(self, id: str) -> bool:
        return id in self._stored or id in self.new


class _Generation:
    """What is known of the messages that came in some time; they are kept, or ids would lie."""

    def __init__(self) -> None:
        self.size = 0
        self.ids: dict[Hidden, dict[int, str]] = {}
        self.alive: list[Message] = []
        self.altered: set[str] = set()
        self.prompts: dict[tuple[str, Hidden, int, bytes], tuple[bytes, Kept]] = {}


def _lines(message: Message) -> list[Line]:
    """What a message says, for people: words, tool calls, tool results, one below the other.

    A model's words in parts go on in the middle of a sentence.
    """
    told = [(part, line) for part in message.parts if (line := _line(part)).text]
    lines = [line for _, line in told]
    if message.role is Role.ASSISTANT:
        for at, (one, two) in enumerate(pairwise(part for part, _ in told)):
            if isinstance(one, Text) and isinstance(two, Text):
                lines[at] = lines[at]._replace(end="")
    return lines


def _joined(lines: list[Line]) -> str:
    whole = "".join(line.text + line.end for line in lines)
    return whole.removesuffix(lines[-1].end) if lines else whole


def _line(part: Part) -> Line:
    if isinstance(part, (Text, ToolResult)):
        return Line(part.text, True)
    if isinstance(part, ToolCall):
        arguments = wirejson.encode(part.arguments).decode("utf-8", "replace")
        return Line(f"[{part.name} {arguments}]", False)
    return Line(f"[see {part.id}]" if isinstance(part, Reference) else f"[{part.type}]", False)


def _words_of(role: str, block: bytes) -> str:
    """The words of a block of a system prompt."""
    return wirejson.string(wirejson.at(wirejson.decode(block), "text")) if role == BLOCK else ""


def _layout_of(raw: bytes, items: list[bytes]) -> Layout | None:
    for layout in (COMPACT, SPACED):
        if array(items, layout) == raw:
            return layout
    return found_array(raw, items)


def _hash(role: str, body: bytes) -> str:
    return sha256(role.encode() + b"\0" + body).hexdigest()[:32]


def _shown(line: Line, hidden: Hidden) -> Line:
    clean = credentials.without(line.text.encode("utf-8", "surrogatepass"), hidden)
    return line._replace(text=clean.decode("utf-8", "replace"))


def _smallest(body: bytes) -> str | bytes:
    """JSON as it is stored: as text, or packed where that pays, or where it is no text."""
    if len(body) >= PACKED_FROM:
        small = packed(body)
        if len(small) < PAYS * len(body):
            return small
    try:
        return body.decode()
    except UnicodeDecodeError:
        return packed(body)
