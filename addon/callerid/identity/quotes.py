"""What the opening of a history quotes: a summary that a model wrote, or an errand that it gave.

An opening that holds a reply of ours goes on from it (compaction). One that holds a text which a
live session's model gave to a tool was sent by that session (a sub-agent). Found by sketches: the
word triples of the opening are looked up among those of newest replies and errands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from heapq import nlargest
from typing import NamedTuple

from callerid.identity import history as histories
from callerid.identity import sketch
from callerid.identity.index import Index
from callerid.identity.memory import Memory
from callerid.identity.session import Session
from callerid.turn import Message, Role, Text, ToolCall

MIN_QUOTE = 16  # characters: shorter errands ("ls", "main.py") are in everyone's mouth
# Arguments that are said to somebody. What is searched for or written may be anybody's words too,
# and is an errand only where it is long.
_SAID = re.compile(
    r"prompt|task|desc|instruct|message|request|question|objective|goal|expect|input|brief"
)
# A text that is given to something in code or JSON that a model wrote as words, by a name or first:
# `ask(task="...")`, `ask("...")`, `{"task": "..."}`. Programs run it, as they run calls of tools.
_GIVEN = re.compile(
    r'''(?:\b(\w+)\s*=\s*|["'](\w+)["']\s*:\s*|\w\(\s*)f?("""|"|'(?:'')?)((?:(?!\3)[^\\]|\\.){16,}?)\3''',
    re.S,
)
_ESCAPED = re.compile(r"\\(.)", re.S)
READ = 20_000  # characters: the newest of a reply, and of either end of an opening
MIN_CONTAINED = 48  # characters: a few words that stand in a prompt as well prove nothing
MIN_SPACES = 6  # of a task that is a small part of a text
GOOD_PART = 1 / 3  # of a text: cagent's wrapping is twice as long as a short task
MAX_ERRANDS = 16  # kept per session: more sub-agents than these are not sent at once
ERRAND_KEPT = 600  # characters
MOST_SENDERS = 16  # sessions whose errands are held against a text
SENT_SECONDS = 120.0  # within which a sub-agent that was sent asks
MAX_DEPTH = 3  # of a tool's arguments
SHARED_OF_SUMMARY = 4  # of a sketch's twelve: clients keep a part (<summary>) of what was written
RETOLD = 20_000  # characters: the newest part of a conversation that is told as one text
MIN_SUMMARY = 200  # characters: a reply that is one sentence long summarises nothing


class Quote(NamedTuple):
    """A session that an opening quotes, and what of it."""

    session: Session
    what: str


class Errand(NamedTuple):
    """A text that a reply gives to a tool or in code; `is_task`: under a name that says so."""

    text: str
    is_task: bool


def errands_in(messages: Iterable[Message]) -> list[Errand]:
    """The texts that a reply gives to tools or in code, long enough to be known again."""
    return [
        errand
        for message in messages
        for part in message.parts
        for errand in (
            _texts(part.arguments, 0)
            if isinstance(part, ToolCall)
            else _given_in(part.text)
            if isinstance(part, Text)
            else ()
        )
    ]


def _given_in(said: str) -> Iterator[Errand]:
    """The texts that code or JSON in a model's words gives to something."""
    if "(" in said or "{" in said:
        for name, member, _, written in _GIVEN.findall(said[-READ:]):
            text = _ESCAPED.sub(lambda sign: " " if sign[1] in "nrt" else sign[1], written)
            yield from _texts(text, 0, name or member)


def _texts(value: object, depth: int, name: str = "") -> Iterator[Errand]:
    """The texts in a tool's arguments that are long enough to be known again."""
    if isinstance(value, str):
        is_task = bool(_SAID.search(name.lower()))
        if len(value) >= (MIN_QUOTE if is_task else MIN_CONTAINED):
            yield Errand(value, is_task)
    elif depth <= MAX_DEPTH and isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, depth + 1, str(key))
    elif depth <= MAX_DEPTH and isinstance(value, list):
        for item in value:
            yield from _texts(item, depth + 1, name)


def own_tasks(errands: Iterable[Errand], asked: str) -> tuple[str, ...]:
    """The tasks among some errands (plain texts) that do not just repeat what was asked."""
    return tuple(
        text
        for text, is_task in errands
        if is_task
        and len(text) >= MIN_CONTAINED
        and text.count(" ") >= MIN_SPACES
        and text not in asked
    )


def opening_texts(messages: Iterable[Message]) -> list[str]:
    """The words of a history before the model's first, block by block."""
    texts: list[str] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            break
        if message.role is Role.USER:
            texts += [part.text for part in message.parts if isinstance(part, Text)]
    return texts


def errand_of(texts: Iterable[str], scope: str, memory: Memory, now: float) -> Quote | None:
    """The session whose errand one of some texts is, or holds; of several the one heard of last."""
    for text in texts:
        near = _near(text, scope, memory.errands, memory, now)
        if len(text) > 2 * READ:  # a task stands near an end, and other errands are shorter
            text = f"{text[:READ]} {text[-READ:]}"
        likely = nlargest(MOST_SENDERS, near, key=lambda one: (near[one], one.seen))
        for session in sorted(likely, key=lambda session: -session.seen):
            is_sending = session.is_waiting and now - session.seen <= SENT_SECONDS
            # Some programs wrap a task in a page of rules; the sender waits until it is done.
            task = next((task for task in session.tasks if is_sending and task in text), "")
            if errand := _errand_in(text, session.errands) or task:
                return Quote(session, errand)
    return None


def handed_on(messages: Sequence[Message], plain: Callable[[str], str]) -> str:
    """The errand that the model's newest words gave to a tool, if words after them are about it.

    Then a sub-agent asks, which was given the history of its sender. "" where it is not so.
    """
    words: list[str] = []
    given: list[str] = []
    for message in reversed(messages):
        if message.role is Role.ASSISTANT:
            calls = (part for part in message.parts if isinstance(part, ToolCall))
            errands = [each.text for call in calls for each in _texts(call.arguments, 0)]
            if not words or not errands:
                break
            given += errands
        elif message.role is Role.USER and (texts := opening_texts([message])):
            if given:
                break
            words += texts
    errands = [plain(text) for text in given]
    return next(filter(None, (_errand_in(plain(text), errands) for text in words)), "")


def _errand_in(text: str, errands: Collection[str]) -> str:
    """The errand that a text is about: equal to it, or a good part of it (or it of the errand).

    Programs wrap errands in words of their own; but a line of code that both quote is no errand.
    """
    if text in errands:
        return text
    held = [errand for errand in dict.fromkeys(errands) if errand in text]
    size = sum(map(len, held))
    if size >= MIN_CONTAINED and size >= len(text) * GOOD_PART:
        return max(held, key=len)
    holding = (errand for errand in errands if text in errand)
    return next((e for e in holding if len(text) >= max(MIN_CONTAINED, len(e) * GOOD_PART)), "")


def summary_of(texts: Iterable[str], scope: str, memory: Memory, now: float) -> Quote | None:
    """The session of whose newest reply some texts hold a good part."""
    for text in texts:
        if len(text) < MIN_SUMMARY:
            continue
        near = _near(text, scope, memory.replies, memory, now)
        best, shared = max(near.items(), key=lambda item: item[1], default=(None, 0))
        if best is not None and shared >= SHARED_OF_SUMMARY:
            return Quote(best, f"{shared} of {sketch.SKETCH_SIZE} samples of its reply")
    return None


def _near(
    text: str, scope: str, index: Index[int, Session], memory: Memory, now: float
) -> Counter[Session]:
    """The live sessions of a customer that share samples with a text, and how many."""
    near: Counter[Session] = Counter()
    salt = histories.salt(histories.beginning(scope))
    for number in index.known(sketch.triples(text, salt)):
        near.update(memory.live(index.get(number), now))
    return Counter({session: count for session, count in near.items() if session.scope == scope})
