"""What the opening of a history quotes: a summary that a model wrote, or an errand that it gave.

An opening that holds a reply of ours goes on from it (compaction). One that holds a text which a
live session's model gave to a tool was sent by that session (a sub-agent). Found by sketches: the
word triples of the opening are looked up among those of newest replies and errands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from callerid.identity import sketch
from callerid.identity.memory import Index, Memory
from callerid.identity.session import Session
from callerid.turn import Message, Role, Text, ToolCall

MIN_QUOTE = 16  # characters: shorter errands ("ls", "main.py") are in everyone's mouth
MIN_CONTAINED = 48  # characters: a few words that stand in a prompt as well prove nothing
GOOD_PART = 1 / 3  # of a text: cagent's wrapping is twice as long as a short task
MAX_ERRANDS = 16  # kept per session: more sub-agents than these are not sent at once
ERRAND_KEPT = 600  # characters
SHARED_OF_SUMMARY = 4  # of a sketch's twelve: clients keep a part (<summary>) of what was written
MIN_SUMMARY = 200  # characters: a reply that is one sentence long summarises nothing


class Quote(NamedTuple):
    """A session that an opening quotes, and what of it."""

    session: Session
    what: str


def errands_in(messages: Iterable[Message]) -> list[str]:
    """The texts that a reply gives to tools, long enough to be known again."""
    found: list[str] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                found += _texts(part.arguments, 0)
    return [text for text in found if len(text) >= MIN_QUOTE]


def _texts(value: object, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth > 3:
        return []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in values for text in _texts(item, depth + 1)]


def opening_texts(messages: Iterable[Message]) -> list[str]:
    """The words of a history before the model's first, block by block."""
    texts: list[str] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            break
        if message.role is Role.USER:
            texts += [part.text for part in message.parts if isinstance(part, Text)]
    return texts


def errand_of(texts: Iterable[str], salt: int, memory: Memory, now: float) -> Quote | None:
    """The session whose errand one of some texts is, or holds; of several the one heard of last."""
    for text in texts:
        near = _near(text, salt, memory.errands, memory, now)
        for session in sorted(near, key=lambda session: -session.seen):
            if errand := _errand_in(text, session):
                return Quote(session, errand)
    return None


def _errand_in(text: str, session: Session) -> str:
    """The errand that a text is about: equal to it, or a good part of it (or it of the errand).

    Programs wrap errands in words of their own; but a line of code that both quote is no errand.
    """
    if text in session.errands:
        return text
    held = [errand for errand in session.errands if errand in text]
    size = sum(map(len, held))
    if size >= MIN_CONTAINED and size >= len(text) * GOOD_PART:
        return max(held, key=len)
    holding = (errand for errand in session.errands if text in errand)
    return next((e for e in holding if len(text) >= max(MIN_CONTAINED, len(e) * GOOD_PART)), "")


def summary_of(texts: Iterable[str], salt: int, memory: Memory, now: float) -> Quote | None:
    """The session of whose newest reply some texts hold a good part."""
    for text in texts:
        if len(text) < MIN_SUMMARY:
            continue
        near = _near(text, salt, memory.replies, memory, now)
        best, shared = max(near.items(), key=lambda item: item[1], default=(None, 0))
        if best is not None and shared >= SHARED_OF_SUMMARY:
            return Quote(best, f"{shared} of {sketch.SKETCH_SIZE} samples of its reply")
    return None


def _near(
    text: str, salt: int, index: Index[int, Session], memory: Memory, now: float
) -> Counter[Session]:
    near: Counter[Session] = Counter()
    for number in sketch.triples(text, salt):
        for session in memory.live(index.get(number), now):
            near[session] += 1
    return near
