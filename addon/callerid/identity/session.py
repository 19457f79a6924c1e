"""The nouns of memory: a session, and the points by which its history is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

from callerid.identity.history import Link
from callerid.turn import Client, Relation


class State(Enum):
    """How a call went."""

    IN_FLIGHT = auto()
    ANSWERED = auto()
    FAILED = auto()


class Point:
    """A moment by which a history is recognised: the end of a call, or of a reply to it.

    `said` says that the prefix holds something a model said in this session, as far as `goes_on`
    says that the prefix of `before` is part of it. `turn` is how many
    of the session's model units lie before it, and `depth` how many units in all. `next` is the
    call that went on from here, `before` the point that this one went on from.
    """

    __slots__ = ("agent_id", "before", "depth", "is_reply", "link", "next", "said",
                 "session", "state", "turn")  # fmt: skip

    def __init__(
        self, session: Session, link: Link, depth: int, before: Point | None, *, is_reply: bool,
        goes_on: bool = True,
    ) -> None:  # fmt: skip
        self.session = session
        self.link = link
        self.depth = depth
        self.before = before
        self.is_reply = is_reply
        self.said: bool = is_reply or (goes_on and before is not None and before.said)
        self.state = State.ANSWERED if is_reply else State.IN_FLIGHT
        self.next: Point | None = None
        self.agent_id = ""
        self.turn = len(session.said)

    @property
    def is_open(self) -> bool:
        """Whether nothing went on from here, or only calls that failed."""
        return self.next is None or self.next.state is State.FAILED


NOTHING_GIVEN: frozenset[int] = frozenset()  # most sessions have none, and share these
NO_ERRANDS: Mapping[str, list[int]] = MappingProxyType({})


class Prompt(NamedTuple):
    """A prompt with the reply to it: how many letters, a name of all, and one of how they begin."""

    reply: Point
    letters: int
    name: bytes
    begun: bytes


class Session:
    """What is remembered of one session.

    `said` is what the model said on the session's present path, as unit keys; `given` is what the
    client's first history put into the model's mouth (examples, or words said before us). `tail` is
    the plain text of the newest messages up to its newest reply, and `ends_in_text` says that this
    reply has words, `asks_tool` that it calls a tool, and `spoken` how many letters of them come
    first in it. `errands` are the newest texts that its model gave to tools, with their sketches,
    and `tasks` those of the newest reply that are tasks in words of its own. `messages` is how many
    messages of people and models the newest history has, with its reply. `head` is the newest
    point, `asked` the digest of what was asked last, and `prompt` what it was, with its reply,
    where nothing but that was said. `is_searched` says that the client asks calls again that were
    answered and gone on from: it tries other ways. `run` is the id of the run that the client
    declares.
    """

    __slots__ = ("agent_id", "asked", "asks_tool", "calls", "client", "ends_in_text", "errands",
                 "given", "has_declared_id", "head", "id", "is_searched", "messages", "parent_id",
                 "prompt", "relation", "root_id", "run", "said", "scope", "seen", "spoken",
                 "tail", "tasks")  # fmt: skip

    def __init__(self, id: str, client: Client, now: float) -> None:
        self.id = id
        self.scope = client.scope
        self.client = client
        self.seen = now
        self.root_id = id
        self.run = ""
        self.parent_id = ""
        self.relation: Relation | None = None
        self.agent_id = ""
        self.calls = 0
        self.messages = 0
        self.head: Point | None = None
        self.asked = b""
        self.prompt: Prompt | None = None
        self.has_declared_id = False
        self.is_searched = False
        self.said: tuple[int, ...] = ()
        self.given = NOTHING_GIVEN
        self.tail = ""
        self.ends_in_text = False
        self.asks_tool = False
        self.spoken = 0
        self.errands = NO_ERRANDS
        self.tasks: tuple[str, ...] = ()

    @property
    def newest_call(self) -> Point | None:
        """The newest call: the head, or the call that the head replies to."""
        return self.head.before if self.head is not None and self.head.is_reply else self.head

    @property
    def is_waiting(self) -> bool:
        """Whether a reply has come, and nothing has gone on from it."""
        return self.head is not None and self.head.is_reply and self.head.is_open
