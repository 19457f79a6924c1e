"""A conversation that goes on: what was said is remembered, and each call says whose it is."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callerid.again import declaring
from callerid.archive.transcript import Words
from callerid.client import library, loops, translate
from callerid.client.errors import AgentError
from callerid.client.events import Event, Response
from callerid.client.library import Ended, Turn
from callerid.door.message import Message
from callerid.door.session import Session as Kept
from callerid.door.session import Usage, first
from callerid.turn import Relation, Role

if TYPE_CHECKING:
    from callerid.client.agent import Agent


class Session:
    """One conversation of an agent.

    A turn that fails (AgentError, or what a tool raises), or whose stream is left before its end,
    leaves the history as it was. One turn at a time.
    """

    def __init__(self, agent: Agent, kept: Kept) -> None:
        self.agent = agent
        self.session_id = declaring.checked(kept.session_id)
        self.system = kept.system
        self.parent_id = kept.parent_id
        self.metadata = dict(kept.metadata)
        self._messages = kept.messages
        self._turns = threading.Lock()

    def __repr__(self) -> str:
        return f"<Session {self.session_id} of {self.agent!r}>"

    @property
    def messages(self) -> list[Message]:
        """What was said, in a list of your own; the system prompt is not among it."""
        return list(self._messages)

    def add_message(self, message: Message) -> None:
        """Put a message at the end of the history, as if it had been said."""
        self._messages.append(message)

    def clear(self) -> None:
        """Forget what was said; the id and the system prompt stay."""
        self._messages.clear()

    def run(self, text: str, **settings: Any) -> Response:
        """Say something, and wait for the answer; `settings` are pydantic-ai's, as max_tokens.

        Raises AgentError; TypeError for a setting that there is not.
        """
        return loops.run(self.run_async(text, **settings))

    async def run_async(self, text: str, **settings: Any) -> Response:
        """As `run`, in the loop that runs."""
        return await self._answer(text, str, settings)

    def json(self, text: str, schema: Any, **settings: Any) -> Response:
        """As `run`, with an answer that fits a schema (a pydantic model): `response.output`."""
        return loops.run(self.json_async(text, schema, **settings))

    async def json_async(self, text: str, schema: Any, **settings: Any) -> Response:
        """As `json`, in the loop that runs."""
        return await self._answer(text, schema, settings)

    def stream(self, text: str, **settings: Any) -> Iterator[Event]:
        """Say something, and be told of the answer as it comes; the turn begins with the first."""
        return loops.iterate(self._events(text, settings))

    async def stream_async(self, text: str, **settings: Any) -> AsyncIterator[Event]:
        """As `stream`, in the loop that runs."""
        return self._events(text, settings)

    def fork(self, session_id: str = "", *, at: int | None = None) -> Session:
        """Another session that goes on from here, or from the first `at` messages.

        Raises ValueError where there are not so many.
        """
        kept = Kept(
            session_id, system=self.system, messages=first(self._messages, at),
            parent=self.session_id,
            metadata={
                "relation": Relation.FORK.value,
                "fork_point": len(first(self._messages, at)),
                "root": self.metadata.get("root") or self.session_id,
            },
        )  # fmt: skip
        return Session(self.agent, kept)

    def to_dict(self) -> dict[str, Any]:
        """All that it takes to have the session again elsewhere, as JSON has it."""
        return Kept(
            self.session_id, system=self.system, messages=self._messages, model=self.agent.model,
            provider=self.agent.provider, parent=self.parent_id, metadata=self.metadata,
        ).to_dict()  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, object], agent: Agent) -> Session:
        """The session of a `to_dict`, or of the door's, to go on with; raises ValueError."""
        return cls(agent, Kept.from_dict(data))

    async def _answer(self, text: str, schema: Any, settings: Mapping[str, Any]) -> Response:
        with self._turn():
            async with self.agent.asked() as asked:
                turn = self._made(asked.model, text, schema, settings)
                try:
                    return self._ended(await library.run(turn))
                except library.failures(asked.dialect) as error:
                    raise library.agent_error(error) from error

    async def _events(self, text: str, settings: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        with self._turn():
            async with self.agent.asked() as asked:
                turn = self._made(asked.model, text, str, settings)
                try:
                    async for found in library.stream(turn):
                        if isinstance(found, Ended):
                            yield Event("done", response=self._ended(found))
                        else:
                            yield found
                except library.failures(asked.dialect) as error:
                    raise library.agent_error(error) from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(blocking=False):
            raise AgentError(f"session {self.session_id} has not yet ended its turn; fork it")
        try:
            yield
        finally:
            self._turns.release()

    def _made(self, model: Any, text: str, schema: Any, said: Mapping[str, Any]) -> Turn:
        names = ("relation", "fork_point", "root")
        origin = (str(self.metadata.get(name) or "") for name in names)
        headers = declaring.headers(self.session_id, self.parent_id, *origin)
        settings = library.settings({**self.agent.settings, **said}, headers)
        agent = library.agent(model, self.system, self.agent.tools)
        return Turn(agent, text, translate.said(self._messages), settings, schema)

    def _ended(self, ended: Ended) -> Response:
        new = [translate.kept(message) for message in ended.messages]
        self._messages += new
        spoken = [message for message in new if message.role is Role.ASSISTANT]
        text = "".join(p.text for p in spoken[-1].parts if isinstance(p, Words)) if spoken else ""
        if isinstance(ended.output, str):
            text = ended.output
        return Response(text, ended.output, tuple(new), _used(ended), self.session_id)


def _used(ended: Ended) -> Usage:
    counts = [message.usage for message in ended.messages if message.kind == "response"]
    return Usage(
        sum(count.input_tokens for count in counts),
        sum(count.output_tokens for count in counts),
        sum(count.cache_read_tokens for count in counts),
    )
