"""One call, and all that its identification may look at."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from callerid.identity import history as histories
from callerid.identity import likeness, lineage, prompts, quotes
from callerid.identity.agents import Agent
from callerid.identity.declared import Declared
from callerid.identity.history import History
from callerid.identity.likeness import Alike
from callerid.identity.lineage import Step
from callerid.identity.memory import Memory
from callerid.identity.prompts import Grown
from callerid.identity.quotes import Quote
from callerid.identity.session import Point, Session, State
from callerid.settings.values import SessionSettings
from callerid.turn import Call, Client, Dialect, Kind, Reference, Role, ToolCall

# Versions 4 and 7: https://www.rfc-editor.org/rfc/rfc9562; and those that we mint.
_RANDOM = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|sess_[0-9a-f]{32}"
)


class _Named(NamedTuple):
    """A reply that a call names, the id by which it does, and how many messages lie before."""

    reply: Point | None
    id: str
    at: int


class Question:
    """What the rungs of the ladder ask about; each view is made when it is first looked at."""

    def __init__(
        self,
        call: Call,
        client: Client,
        declared: Declared,
        agent: Agent,
        plain: Callable[[str], str],
        memory: Memory,
        settings: SessionSettings,
        now: float,
    ) -> None:
        self.call = call
        self.client = client
        self.declared = declared
        self.agent = agent
        self.plain = plain
        self.memory = memory
        self.settings = settings
        self.now = now
        self.kind = declared.kind or call.kind

    @cached_property
    def answered(self) -> Point | None:
        """The reply that the call says it goes on from, by the provider's id."""
        return self._named.reply

    @property
    def answered_id(self) -> str:
        """The provider's id of that reply, or of something in it."""
        return self._named.id

    @cached_property
    def _named(self) -> _Named:
        """The reply that the call names: as the previous one, or by a thing in it, the newest."""
        for at, id in [(0, self.call.previous_response_id), *self._references()]:
            if reply := self.memory.answered(self.client.scope, id, self.now):
                return _Named(reply, id, at)
        return _Named(None, self.call.previous_response_id, 0)

    def _references(self) -> list[tuple[int, str]]:
        """The ids of the things said that only their ids stand for, the newest first.

        With each goes how many messages lie up to it.
        """
        if self.call.dialect is not Dialect.OPENAI_RESPONSES:
            return []
        said = self.call.messages
        return [
            (at, part.id)
            for at in range(len(said), 0, -1)
            for part in said[at - 1].parts
            if type(part) is Reference
        ]

    @cached_property
    def history(self) -> History:
        """What was said.

        With only what is new, it goes on from the reply that the call names. Words of the model in
        several messages in a row are one text if more of what was said is known so.
        """
        cut = self._history()
        joined = cut.joined()
        return cut if joined is cut or self._unknown(joined) >= self._unknown(cut) else joined

    def _unknown(self, history: History) -> int:
        """How many characters of a history come after the last point of a live session."""
        weight = 0
        for link, unit in zip(reversed(history.links), reversed(history.units), strict=True):
            points = self.memory.points.get(link)
            if any(self._is_live(point.session) for point in points):
                break
            weight += unit.weight
        return weight

    @cached_property
    def whole(self) -> History:
        """The history that the messages make, from the beginning."""
        return self.memory.trails.history(self.client.scope, self.call.messages)

    def _history(self) -> History:
        whole = self.whole
        if self.answered is None or self.answered.link in whole.links:
            return whole
        if self.call.dialect is not Dialect.OPENAI_RESPONSES:
            return whole  # Claude Code names the previous message and still sends everything
        return histories.trace(self.answered.link, self.call.messages[self._named.at :])

    @cached_property
    def issuers(self) -> list[Session]:
        """The sessions whose model issued the newest tool id in the history that is known."""
        parts = (part for message in reversed(self.call.messages) for part in message.parts)
        ids = (part.id for part in parts if isinstance(part, ToolCall) and part.id)
        found = (self.memory.tool_ids.get((self.client.scope, id)) for id in ids)
        return next(filter(None, found), [])

    @cached_property
    def awaited(self) -> Session | None:
        """The session of this agent which waits for what the history's newest tool call brings.

        The provider made its id up for that one reply, so the rest may be told as it likes.
        """
        models = (m for m in reversed(self.call.messages) if m.role is Role.ASSISTANT)
        ids = list(likeness.tool_ids(itertools.islice(models, 1)))
        if not ids or len(self.issuers) != 1:
            return None
        session, made = self.issuers[0], self.memory.tool_ids
        newest = made.names_since(session, made.count(session) - 1)
        is_newest = session.asks_tool and newest == ((self.client.scope, ids[-1]),)
        has_failed = session.head is not None and session.head.state is State.FAILED
        is_awaited = is_newest and (session.is_waiting or has_failed)
        is_of_agent = session.agent_id == self.agent.id
        return session if is_awaited and is_of_agent and self._is_live(session) else None

    def _is_live(self, session: Session) -> bool:
        return self.memory.is_live(session, self.now)

    @property
    def known_to(self) -> int:
        """How many of the things said lie up to the newest that is known, exactly or not."""
        if self.awaited is not None:
            return self.history.model_units()[-1][0] + 1
        return self.alike.at if self.alike else 0

    @cached_property
    def step(self) -> Step | None:
        """The point that the history goes on from."""
        return lineage.follow(
            self.history, self.client, self.agent.id, lambda: self.issuers, self.memory, self.now
        )

    @cached_property
    def alike(self) -> Alike | None:
        """The session that the history is most alike to, if that may be asked."""
        spoken = [message for message in self.call.messages if message.role is not Role.SYSTEM]
        is_long = len(spoken) >= self.settings.min_messages_for_new_session
        if not self.settings.fuzzy_matching or not is_long:
            return None
        words = likeness.words_of(self.call.messages, self.plain)
        return likeness.resemble(
            self.history, words, self.client, likeness.tool_ids(self.call.messages), self.issuers,
            self.memory, self.settings, self.now,
        )  # fmt: skip

    @cached_property
    def grown(self) -> Grown | None:
        """The session whose prompt and reply the call's prompt begins with."""
        if self.kind is not Kind.MAIN or not prompts.is_prompt(self.call.messages):
            return None
        return prompts.grown_from(
            " ".join(self.opening), self.client.scope, self.client.connection, self.memory, self.now
        )

    @cached_property
    def opening(self) -> list[str]:
        """The plain words of the history before the model's first."""
        return [self.plain(text) for text in quotes.opening_texts(self.call.messages)]

    @property
    def company(self) -> tuple[str, str, str] | None:
        """By what calls are found that stand in no conversation, as this one; None if it does."""
        is_alone = self.kind is Kind.EMBEDDING or not self.call.messages
        if self.kind is Kind.MAIN or not is_alone or not self.client.connection:
            return None
        return self.client.scope, self.client.connection, self.kind

    def session_declared(self, id: str) -> Session | None:
        """The session that a declared id names: by a name of the client's own, or by ours."""
        sessions = self.memory.declared.get((self.scope_of(id), id))
        if sessions:
            return sessions[-1]
        known = self.memory.get(id)
        is_ours = known is not None and known.scope == self.client.scope
        return known if is_ours or self._is_anywhere(id) else None

    @cached_property
    def main_of_run(self) -> Session | None:
        """The session of the main agent of the declared run: it goes by the run's own id."""
        return self.session_declared(self.declared.run)

    def scope_of(self, id: str) -> str:
        """Within what a declared id is unique: the credential, unless a setting trusts all.

        Or the whole world, where it was made up at random: two customers never make up the same,
        and one may renew a token in the middle of a session.
        """
        return scope_of(id, self.client, self.settings)

    def _is_anywhere(self, id: str) -> bool:
        return is_anywhere(id, self.settings)

    @cached_property
    def reset_phrase(self) -> str:
        """The reset phrase that the newest message, if it is a person's, begins with."""
        newest = self.call.messages[-1] if self.call.messages else None
        if newest is None or newest.role is not Role.USER:
            return ""
        said = self.plain(newest.text).casefold()
        phrases = (phrase.casefold() for phrase in self.settings.reset_phrases)
        return next((phrase for phrase in phrases if phrase and said.startswith(phrase)), "")

    @cached_property
    def errand(self) -> Quote | None:
        """The session that sent this one: its model gave the opening's text to a tool."""
        if self.history.model_units():
            return None
        prompts = [m.text for m in self.call.messages if m.role is Role.SYSTEM] or [
            self.call.system
        ]
        texts = [*self.opening, *map(self.plain, prompts)]
        return quotes.errand_of(texts, self.client.scope, self.memory, self.now)

    @cached_property
    def handed_over(self) -> Session | None:
        """The session of another agent whose opening this history has, and more."""
        return lineage.handed_over(
            self.history, " ".join(self.opening), self.client, self.agent.id, self.memory, self.now
        )

    @cached_property
    def handed_on(self) -> str:
        """The errand that a sub-agent was given together with its sender's history."""
        return quotes.handed_on(self.call.messages, self.plain)

    @cached_property
    def summary(self) -> Quote | None:
        """The session whose model wrote what the opening quotes at length."""
        texts = self.opening
        if self.kind is Kind.COMPACTION:  # a conversation told as one text: its newest words
            texts = [text[-quotes.RETOLD :] for text in texts]
        return quotes.summary_of(texts, self.client.scope, self.memory, self.now)


def scope_of(id: str, client: Client, settings: SessionSettings) -> str:
    """Within what a declared id is unique."""
    return "" if is_anywhere(id, settings) else client.scope


def is_anywhere(id: str, settings: SessionSettings) -> bool:
    """Whether a declared id is nobody else's, whatever the credential."""
    return settings.trust_ids_across_credentials or bool(_RANDOM.fullmatch(id))
