"""What was said, to be read: the messages of a call or of a whole session, and what each adds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from difflib import SequenceMatcher

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import NotFound
from callerid.traces import bodies
from callerid.turn import Dialect, Message, Reference, Role, Text, ToolCall, ToolResult
from callerid.wire import canonical, dialects, wirejson
from callerid.wire.messages import MessageReader

CHAINS = 64  # calls that others may go on from, where several chains are in one session


class Piece(msgspec.Struct, frozen=True, tag_field="type"):
    """A piece of what was said."""


class Words(Piece, frozen=True, tag="text"):
    """Words."""

    text: str


class Asked(Piece, frozen=True, tag="tool_call"):
    """A tool call; `arguments` is JSON, or text where it was none."""

    id: str
    name: str
    arguments: object


class Answered(Piece, frozen=True, tag="tool_result"):
    """A tool's answer."""

    call_id: str
    text: str


class Thought(Piece, frozen=True, tag="thinking"):
    """What a model thought, as far as its provider shows it."""

    text: str


class Other(Piece, frozen=True, tag="other"):
    """Something that is no text: an image, a file, a reference."""

    kind: str


Pieces = Words | Asked | Answered | Thought | Other


class Line(msgspec.Struct, frozen=True):
    """One message; `call_id` is the call that said it first, at `position` of its history."""

    role: Role
    pieces: tuple[Pieces, ...]
    call_id: str
    position: int
    is_reply: bool

    @property
    def text(self) -> str:
        """The words alone."""
        return "\n".join(piece.text for piece in self.pieces if isinstance(piece, Words))


class Reader:
    """Reads what was said from a traces.db."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._messages = MessageReader(canonical.injected_pattern([]))

    def call(self, call_id: str) -> list[Line]:
        """What a call sent, and what came back; raises NotFound."""
        dialect = self._dialect(call_id)
        sent = bodies.messages_of(self._database, call_id)
        back = bodies.reply_messages_of(self._database, call_id)
        return [
            *self._lines(dialect, sent, call_id, is_reply=False),
            *self._lines(dialect, back, call_id, is_reply=True),
        ]

    def session(self, session_id: str) -> list[Line]:
        """What was said in a session, each message once, in the order in which it was said.

        The first call brings its whole history, others what none before them had: a message that
        a client changed, or a summary, is new.
        """
        said: list[Line] = []
        known: OrderedDict[str, list[Hashable]] = OrderedDict()  # what was said up to a call
        for row in self._database.query(_CALLS, [session_id]):
            base = str(row["base_call_id"])
            lines, start = self._added(row, is_whole=base not in known)
            names = [_sameness(line) for line in lines]
            before = known[base] if base in known else _likest(known.values(), names)
            new = _new(before[start:], names) if known else range(len(lines))
            said += [lines[at] for at in new]
            known[str(row["id"])] = before[:start] + names
            if len(known) > CHAINS:
                known.popitem(last=False)
        return said

    def _added(self, row: dict[str, object], *, is_whole: bool) -> tuple[list[Line], int]:
        """The messages of a call after those of the one that it builds on, and how many those are.

        All of them, where that is not known.
        """
        call_id, dialect = str(row["id"]), Dialect(str(row["dialect"]))
        if is_whole:
            return self.call(call_id), 0
        start = int(str(row["base_length"]))
        own = bodies.own_messages_of(self._database, call_id)
        back = bodies.reply_messages_of(self._database, call_id)
        lines = self._lines(dialect, own, call_id, is_reply=False, start=start)
        return lines + self._lines(dialect, back, call_id, is_reply=True), start

    def _lines(
        self, dialect: Dialect, raws: list[bytes], call_id: str, *, is_reply: bool, start: int = 0
    ) -> list[Line]:
        read_parts = dialects.reader_of(dialect).read_parts
        messages = self._messages.read(dialect, raws, read_parts)
        return lines_of(messages, call_id, is_reply=is_reply, start=start)

    def _dialect(self, call_id: str) -> Dialect:
        for row in self._database.query("select dialect from calls where id = ?", [call_id]):
            return Dialect(row["dialect"])
        raise NotFound(f"there is no call {call_id!r}")


def lines_of(
    messages: Iterable[Message], call_id: str = "", *, is_reply: bool = False, start: int = 0
) -> list[Line]:
    """Messages as lines of a transcript."""
    return [
        Line(message.role, pieces_of(message), call_id, at, is_reply)
        for at, message in enumerate(messages, start)
    ]


_CALLS = """
select id, dialect, base_call_id, base_length from calls
where session_id = ? and kind = 'main' and state != 'blocked' order by started_at, id
"""


def _likest(chains: Iterable[list[Hashable]], names: list[Hashable]) -> list[Hashable]:
    """The chain that begins most as some names do; of several the newest."""

    def shared(chain: list[Hashable]) -> int:
        pairs = enumerate(zip(chain, names, strict=False))
        return next((at for at, (a, b) in pairs if a != b), min(len(chain), len(names)))

    return max(reversed(list(chains)), key=shared, default=[])


def _new(before: list[Hashable], names: list[Hashable]) -> list[int]:
    """Where those stand that were not there before, though others may have been left out."""
    matcher = SequenceMatcher(None, before, names, autojunk=False)
    known = {block.b + at for block in matcher.get_matching_blocks() for at in range(block.size)}
    return [at for at in range(len(names)) if at not in known]


def _sameness(line: Line) -> Hashable:
    """What makes two messages one: who said what, however it was written."""
    said = [piece for piece in line.pieces if not isinstance(piece, Thought)]
    return line.role, msgspec.json.encode(said)


def pieces_of(message: Message) -> tuple[Pieces, ...]:
    """What a message says, piece by piece; what a model thought comes first."""
    found: list[Pieces] = list(_thoughts(message.raw))
    for part in message.parts:
        if isinstance(part, Text):
            newest = found[-1] if found else None
            if isinstance(newest, Words) and message.role is Role.ASSISTANT:
                found.pop()  # a model's parts go on in the middle of a sentence
                found.append(Words(newest.text + part.text))
            else:
                found.append(Words(part.text))
        elif isinstance(part, ToolCall):
            found.append(Asked(part.id, part.name, part.arguments))
        elif isinstance(part, ToolResult):
            found.append(Answered(part.call_id, part.text))
        elif isinstance(part, Reference):
            found.append(Other(f"reference to {part.id}"))
        else:
            found.append(Other(part.type))
    return tuple(found)


def shown_arguments(arguments: object) -> str:
    """A tool call's arguments as one line."""
    return wirejson.encode(arguments).decode("utf-8", "replace")


# Where dialects put what a model thought: a block's text (Anthropic, Gemini), a member of the
# message (Chat Completions of many providers, Ollama), a summary of its own (Responses).
_MEMBERS = ("reasoning_content", "reasoning", "thinking")


def _thoughts(raw: bytes) -> Iterator[Thought]:
    message = wirejson.mapping(wirejson.decode(raw))
    for name in _MEMBERS:
        if isinstance(text := message.get(name), str) and text:
            yield Thought(text)
            break
    blocks = [*wirejson.sequence(message.get("content")), *wirejson.sequence(message.get("parts"))]
    if message.get("type") == "reasoning":
        blocks += wirejson.sequence(message.get("summary"))
    for block in map(wirejson.mapping, blocks):
        if block.get("thought") is True or message.get("type") == "reasoning":
            text = block.get("text")
        else:
            text = block.get("thinking")
        if isinstance(text, str) and text:
            yield Thought(text)
