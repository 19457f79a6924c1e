"""A session as an object: what was said in it, and how it can be kept, given on and forked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from callerid.archive.calls import CallFacts
from callerid.archive.sessions import Cost, NotFound
from callerid.door.message import Message


class Usage(NamedTuple):
    """Tokens, what caches gave and reasoning included; None is unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class Content(NamedTuple):
    """What was said up to some call, and with which model."""

    system: str = ""
    messages: tuple[Message, ...] = ()
    model: str = ""
    provider: str = ""


class Record(Protocol):
    """Where a session is on record: what it does not carry itself is looked up there."""

    def content(self, session_id: str, call_id: str = "") -> Content:
        """What was said up to a call, the newest where none is named; raises NotFound."""
        ...

    def calls(self, session_id: str) -> list[CallFacts]:
        """Its calls, the oldest first."""
        ...

    def session(self, wanted: str) -> Session:
        """Another session; raises NotFound."""
        ...

    def children(self, session_id: str) -> list[Session]:
        """The sessions that came from it."""
        ...

    def sums(self, session_id: str) -> tuple[Usage, Cost]:
        """What its calls come to."""
        ...


def first(messages: Sequence[Message], at: int | None) -> Sequence[Message]:
    """The first so many messages, from the end where it is below 0; raises ValueError."""
    if at is not None and abs(at) > len(messages):
        raise ValueError(f"at: expected one of {len(messages)} messages, got {at}")
    return messages[:at]


class Session:
    """One conversation: system prompt and messages, and how it stands to others.

    `messages` is what a next call would go on from: the history of the newest call with its reply.
    A session that a program has made, or read with `from_dict`, has no record: no calls, no
    children, no parent but its id, and nothing is known of what it used.
    """

    def __init__(
        self,
        session_id: str = "",
        *,
        system: str = "",
        messages: Iterable[Message] = (),
        model: str = "",
        provider: str = "",
        parent: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        self.session_id = session_id or f"sess_{uuid.uuid4().hex}"
        self.parent_id = parent
        self.metadata = dict(metadata or {})
        self._content: Content | None = Content(system, tuple(messages), model, provider)
        self._record: Record | None = None

    @classmethod
    def recorded(
        cls, session_id: str, parent: str, metadata: Mapping[str, object], record: Record
    ) -> Self:
        """A session on record; what was said is read when it is asked for."""
        session = cls(session_id, parent=parent, metadata=metadata)
        session._content, session._record = None, record
        return session

    def __repr__(self) -> str:
        return f"<Session {self.session_id}>"

    @property
    def name(self) -> str:
        """The name that a person gave it (`callerid rename`); "" where nobody did."""
        return str(self.metadata.get("name") or "")

    @property
    def system(self) -> str:
        """The words of the system prompt."""
        return self._said().system

    @property
    def messages(self) -> list[Message]:
        """What was said, in a list of your own; the system prompt is not among it."""
        return list(self._said().messages)

    @property
    def model(self) -> str:
        """The model that answered last."""
        return self._said().model

    @property
    def provider(self) -> str:
        """Who answered last, by OpenTelemetry's names; "" is unknown."""
        return self._said().provider

    @property
    def calls(self) -> list[CallFacts]:
        """Its calls, the oldest first."""
        return self._record.calls(self.session_id) if self._record else []

    @property
    def parent(self) -> Session | None:
        """The session that it came from; None for a root, or where that is not on record."""
        try:
            found = bool(self._record and self.parent_id)
            return self._record.session(self.parent_id) if found and self._record else None
        except NotFound:
            return None

    @property
    def children(self) -> list[Session]:
        """The sessions that came from it."""
        return self._record.children(self.session_id) if self._record else []

    @property
    def usage(self) -> Usage:
        """The tokens of all its calls."""
        return self._record.sums(self.session_id)[0] if self._record else Usage()

    @property
    def cost(self) -> Cost:
        """What all its calls cost, and of how many that is not known."""
        return self._record.sums(self.session_id)[1] if self._record else Cost()

    def fork(self, session_id: str = "", *, at: int | str | None = None) -> Session:
        """A new session with what was said up to there, which is not recorded.

        `at` is how many messages it keeps (from the end where it is below 0), or the id of a call:
        up to that call's reply. This session stays as it is. Raises NotFound, and ValueError where
        there are not so many messages.
        """
        said = self._said()
        if isinstance(at, str):
            if self._record is None:
                raise NotFound(f"{self.session_id} has no record: there is no call {at!r}")
            said = self._record.content(self.session_id, at)
        elif at is not None:
            said = said._replace(messages=tuple(first(said.messages, at)))
        return Session(
            session_id, system=said.system, messages=said.messages, model=said.model,
            provider=said.provider, parent=self.session_id,
            metadata={**self.metadata, "name": None, "relation": "fork"},
        )  # fmt: skip

    def to_dict(self) -> dict[str, object]:
        """All that it takes to have the session again elsewhere, as JSON has it."""
        return {
            "session_id": self.session_id,
            "system": self.system,
            "messages": [message.to_dict() for message in self._said().messages],
            "model": self.model,
            "provider": self.provider,
            "parent": self.parent_id or None,
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """The session of a `to_dict`; raises ValueError."""
        session_id, messages = data.get("session_id"), data.get("messages", [])
        metadata = {} if data.get("metadata") is None else data["metadata"]
        if not isinstance(session_id, str) or not isinstance(messages, list):
            raise ValueError("expected what Session.to_dict gives: session_id, messages ...")
        if not isinstance(metadata, dict):
            raise ValueError(f"metadata: expected an object, got {type(metadata).__name__}")
        texts = {name: data.get(name) for name in ("system", "model", "provider", "parent")}
        return cls(
            session_id,
            messages=map(Message.from_dict, messages),
            metadata=metadata,
            **{name: value for name, value in texts.items() if isinstance(value, str)},
        )

    def _said(self) -> Content:
        if self._content is None:
            assert self._record is not None
            self._content = self._record.content(self.session_id)
        return self._content
