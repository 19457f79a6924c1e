"""The names by which sessions are found in an engine: those of a session, and those a call has.

The same as memory's own: links of histories, what a model said, ids that were declared or issued,
and samples of texts. Each begins with a letter for what it is. A connection is a proxy's own, so
nothing is found by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, NamedTuple

from callerid.identity import history as histories
from callerid.identity import likeness, prompts, quotes, sketch
from callerid.identity.declared import Declared
from callerid.identity.history import History
from callerid.identity.match import Match
from callerid.identity.memory import Memory
from callerid.identity.question import Question
from callerid.identity.session import Point, Session, State
from callerid.sharing.form import STATES, Entry, PointRow
from callerid.turn import Because, Call, Client, Kind, Part, Reference, Role, ToolCall

MOST_LINKS = 24  # of a history that are looked up, the newest: two or three are new in a turn
MOST_REFERENCES = 16  # to things that the provider keeps, the newest
MOST_TOOL_IDS = 4  # the newest: all of one reply are one session's
REPLY_SAMPLES = 4  # told of a newest reply, the smallest numbers of its sketch
ERRAND_SAMPLES = 8  # of an errand; a part of it may be all that is quoted
QUOTED_SAMPLES = 256  # looked up of an opening, which may hold a reply among other words
SENT_SAMPLES = 64  # looked up of a text that may be an errand: of it an errand is a good part
MOST_BEGINNINGS = 400  # of a prompt, the longest: a turn may add some thousand letters
MOST_WORDS = 16  # of the model's newest that may be ids
_ID = re.compile(rf"[\w-]{{{likeness.MIN_TOOL_ID},}}")
_SETTLED = (Because.HEADER, Because.BODY, Because.RESPONSE_ID, Because.RETRY)


def link(name: bytes) -> bytes:
    """A point, by the link of its history."""
    return b"p" + name


def unit(name: int) -> bytes:
    """What a model said."""
    return b"u%x" % name


def response(scope: str, id: str) -> bytes:
    """A reply, or a thing in it, by the provider's id."""
    return f"r{scope}/{id}".encode("utf-8", "surrogatepass")


def prompt(begun: bytes) -> bytes:
    """A prompt and the reply to it, by how both begin."""
    return b"g" + begun


def tool(scope: str, id: str) -> bytes:
    """A tool call, by the provider's id."""
    return f"t{scope}/{id}".encode("utf-8", "surrogatepass")


def declared(scope: str, id: str) -> bytes:
    """An id that a client declared."""
    return f"d{scope}/{id}".encode("utf-8", "surrogatepass")


def sample(kind: bytes, number: int) -> bytes:
    """A number of the sketch of a reply (y) or an errand (e)."""
    return kind + b"%x" % number


def recent(scope: str, *, begun: bool) -> bytes:
    """What has just begun: conversations (o), or sessions of side calls alone (a)."""
    return (b"o" if begun else b"a") + scope.encode()


class Asked(NamedTuple):
    """What is looked up: names, ids of sessions, and the sessions that are known by these names."""

    names: list[bytes]
    ids: list[str]
    sessions: set[Session]

    def with_more(self, other: Asked) -> Asked:
        """Both in one."""
        names = list(dict.fromkeys([*self.names, *other.names]))
        return Asked(names, [*self.ids, *other.ids], self.sessions | other.sessions)


class _Asking:
    """Gathers names, with the sessions that memory finds by them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.names: dict[bytes, None] = {}
        self.ids: dict[str, None] = {}
        self.sessions: set[Session] = set()

    def name(self, name: bytes, owners: Iterable[Session | Point]) -> None:
        self.names[name] = None
        for owner in owners:
            self.sessions.add(owner.session if isinstance(owner, Point) else owner)

    def id(self, id: str) -> None:
        self.ids[id] = None
        if found := self._memory.get(id):
            self.sessions.add(found)

    def links(self, found: History) -> None:
        for each in found.links[: -MOST_LINKS - 1 : -1]:
            self.name(link(each), self._memory.points.get(each))

    def asked(self) -> Asked:
        return Asked(list(self.names), list(self.ids), self.sessions)


def exact(
    call: Call, client: Client, said: Declared, scope_of: Any, whole: History, memory: Memory
) -> Asked:
    """What names the session of a call exactly: ids, and its history."""
    asking, scope = _Asking(memory), client.scope
    for id in filter(None, (said.session, said.run, said.parent)):
        asking.id(id)
        within = scope_of(id)
        asking.name(declared(within, id), memory.declared.get((within, id)))
    references = [id for id in (call.previous_response_id,) if id]
    parts = [part for message in reversed(call.messages) for part in message.parts]
    references += [part.id for part in parts if isinstance(part, Reference)]
    for id in references[:MOST_REFERENCES]:
        asking.name(response(scope, id), memory.responses.get((scope, id)))
    for id in _tool_ids(parts)[:MOST_TOOL_IDS]:
        asking.name(tool(scope, id), memory.tool_ids.get((scope, id)))
    asking.links(whole)
    joined = whole.joined()
    if joined is not whole:
        asking.links(joined)
    return asking.asked()


def _tool_ids(parts: Iterable[Part]) -> list[str]:
    return [p.id for p in parts if isinstance(p, ToolCall) and likeness.is_own_id(p.id)]


def is_settled(question: Question, match: Match) -> bool:
    """Whether a session was found so well that nothing else could decide otherwise."""
    if match.session is None or match.because in (Because.COMPACTION, Because.LIKENESS):
        return False
    if match.because in _SETTLED:
        return True
    return question.kind is Kind.MAIN and match.confidence >= CONFIDENT


CONFIDENT = 0.9  # a history that goes on from where a session stands, or is asked again


def alike(question: Question) -> Asked:
    """What a call shares with sessions that are not named: what was said, quoted, or sent."""
    memory, scope = question.memory, question.client.scope
    asking = _Asking(memory)
    if question.history.start != question.whole.start:
        asking.links(question.history)
    start = histories.beginning(scope)
    for _, each in question.history.model_units()[: -likeness.LOOKED_UP - 1 : -1]:
        name = histories.key(start, each)
        asking.name(unit(name), memory.units.get(name))
    for id in _ids_in_words(question.call):
        asking.name(tool(scope, id), memory.tool_ids.get((scope, id)))
    salt = histories.salt(start)
    words = likeness.words_of(question.call.messages, question.plain)
    if len(words.reply) >= likeness.MIN_REPLY:
        _samples(asking, b"y", sketch.sketch(words.reply, salt), memory.replies)
    for text in question.opening:
        if len(text) >= quotes.MIN_SUMMARY:
            told = text[-quotes.RETOLD :] if question.kind is Kind.COMPACTION else text
            _samples(asking, b"y", _smallest(told, salt, QUOTED_SAMPLES), memory.replies)
    if not question.history.model_units():
        rules = [m.text for m in question.call.messages if m.role is Role.SYSTEM]
        rules = rules or [question.call.system]
        for text in (*question.opening, *map(question.plain, rules)):
            _samples(asking, b"e", _smallest(text, salt, SENT_SAMPLES), memory.errands)
        for begun in prompts.names_of(" ".join(question.opening), scope)[-MOST_BEGINNINGS:]:
            asking.name(prompt(begun), memory.prompts.get(begun))
    _just_begun(asking, question)
    return asking.asked()


def _ids_in_words(call: Call) -> list[str]:
    """What may be ids of tool calls in the model's newest words: some clients write them down."""
    said = (message.text for message in reversed(call.messages) if message.role is Role.ASSISTANT)
    words = next(filter(None, said), "")[-likeness.RAW_TAIL :]
    return [word for word in _ID.findall(words) if any(map(str.isdigit, word))][-MOST_WORDS:]


def _just_begun(asking: _Asking, question: Question) -> None:
    """A side call may be about a conversation that has just begun, or have come before it."""
    is_main = question.kind is Kind.MAIN
    if not is_main or not question.history.model_units():
        scope, openings = question.client.scope, question.memory.openings
        owners = openings.sessions(scope, begun=not is_main)
        asking.name(recent(scope, begun=not is_main), owners)


def _smallest(text: str, salt: int, count: int) -> list[int]:
    return nsmallest(count, sketch.triples(text, salt))


def _samples(asking: _Asking, kind: bytes, numbers: Iterable[int], index: Any) -> None:
    for number in numbers:
        asking.name(sample(kind, number), index.get(number))


def of_session(
    session: Session, entry: Entry, reply: Sequence[int], errands: Iterable[Sequence[int]]
) -> tuple[list[bytes], list[bytes]]:
    """The names that find a session after a step, and those that do so no more.

    `reply` and `errands` are the sketches that are new. An opening that was answered finds
    nothing: the same words prove nothing.
    """
    scope = session.scope
    found: list[bytes] = []
    gone: list[bytes] = []
    for row in entry.points:
        if row.is_listed:
            (found if _tells(row) else gone).append(link(row.link))
    found += map(unit, entry.units)
    found += [response(scope, id) for id, _ in entry.responses]
    found += [tool(scope, id) for id in entry.tool_ids]
    found += [declared(within, id) for within, id in entry.declared]
    found += [sample(b"y", number) for number in sorted(reply)[:REPLY_SAMPLES]]
    for numbers in errands:
        found += [sample(b"e", number) for number in sorted(numbers)[:ERRAND_SAMPLES]]
    if entry.opening is not None:
        found.append(recent(scope, begun=entry.opening.is_begun))
    return found, gone


def _tells(row: PointRow) -> bool:
    return row.said or row.is_reply or STATES[row.state] is not State.ANSWERED
