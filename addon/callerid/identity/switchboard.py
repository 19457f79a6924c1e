"""The switchboard: parses, identifies and remembers; what the live proxy and replays share.

Time and chance come in as arguments; nothing here waits, writes or logs.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from callerid.identity import remember
from callerid.identity.agents import Agent, Agents
from callerid.identity.declared import Declarations
from callerid.identity.history import History
from callerid.identity.identify import identify
from callerid.identity.match import Match
from callerid.identity.memory import Memory
from callerid.identity.owners import Owners
from callerid.identity.question import Question
from callerid.identity.session import Point, Session
from callerid.identity.trust import Trust
from callerid.settings.load import Configuration
from callerid.turn import Call, Client, HeaderList, Identity, Kind, Reply, Request
from callerid.wire import canonical, parse
from callerid.wire.messages import REMEMBERED_BYTES, MessageReader
from callerid.wire.parse import ReplyReader

NewId = Callable[[str], str]  # a prefix in, an id out: sess_4f...
MAX_DEPTH = 16  # of a tree of sessions; nobody nests sub-agents so deeply


def message_reader(
    configuration: Configuration, remembered_bytes: int = REMEMBERED_BYTES, *, units: bool = True
) -> MessageReader:
    """What reads messages; their units without what config/clients.yaml says that clients add."""
    tags = [block.tag for block in configuration.clients.injected_blocks]
    return MessageReader(canonical.injected_pattern(tags) if units else None, remembered_bytes)


class Turn(msgspec.Struct, frozen=True):
    """A call with its identity (None where identification is switched off) and its place."""

    request: Request
    call: Call
    identity: Identity | None
    session: Session | None = None
    point: Point | None = None
    is_known: bool = False  # whether the session was known before this call

    @property
    def call_kind(self) -> Kind:
        """What the call is for, as far as is known."""
        return self.identity.kind if self.identity else self.call.kind


class Switchboard:
    """Everything that is known of the calls so far, and the way of a call through it.

    `on_match` is told of each identification, before it is remembered.
    """

    def __init__(self, configuration: Configuration, new_id: NewId) -> None:
        settings = configuration.settings.session
        self._configuration = configuration
        self.settings = settings
        self.memory = Memory(settings.max_sessions, settings.session_ttl_seconds)
        self.agents = Agents()
        self.reader = message_reader(configuration)
        self.on_match: Callable[[Question, Match], None] | None = None
        self.owners = Owners(self.memory, lambda: new_id("sess"))
        self.declarations = Declarations(configuration.clients, Trust(settings.declare_from))
        self._new_id = new_id

    def beside(self) -> Switchboard:
        """Another one with the same settings, that knows no call: it may be used in a thread."""
        other = Switchboard(self._configuration, self._new_id)
        other.owners = self.owners.beside(other.memory)
        return other

    def take(self, request: Request, now: float) -> Turn | None:
        """The turn that a request begins; None where it is no LLM call. Raises NotJSON."""
        call = self.read(request)
        return None if call is None else self.identify(request, call, now)

    def read(self, request: Request) -> Call | None:
        """The call that a request makes; None where it is no LLM call. Raises NotJSON."""
        return parse.parse_call(request.path, request.body, self.reader)

    def identify(self, request: Request, call: Call, now: float) -> Turn:
        """The turn that a call begins."""
        if not self.settings.enabled:
            return Turn(request, call, None)
        question = self.question(request, call, now)
        return self.decided(request, question, identify(question))

    def reply_reader(self, turn: Turn, headers: HeaderList, most_bytes: int = 0) -> ReplyReader:
        """What reads the reply to a turn, as its bytes come; raises BadEncoding.

        It keeps the bytes of replies that are no longer than `most_bytes`.
        """
        return ReplyReader(turn.call.dialect, headers, self.reader, most_bytes)

    def answer(
        self,
        turn: Turn,
        reply: Reply | None,
        now: float,
        *,
        has_failed: bool,
        is_newest: bool = True,
    ) -> None:
        """Remember how a turn ended; None is a reply that could not be read.

        Without `is_newest` there is a newer reply on record, whose words count. Where its session
        was read again from the record meanwhile, there is nothing to remember it by.
        """
        known = self.memory.get(turn.session.id) if turn.session else None
        if known is not turn.session and known is not None:
            return
        answer = reply or Reply()
        if turn.point is not None:
            remember.reply(
                turn.point, turn.call, answer, self.reader, self.memory, now,
                has_failed=has_failed, is_newest=is_newest,
            )  # fmt: skip
        elif turn.session and turn.call_kind is Kind.COMPACTION and not has_failed:
            remember.summary(turn.session, turn.call, answer, self.reader, self.memory, now)
        elif turn.session and turn.call_kind is Kind.PREWARM:
            remember.warmed(turn.session, answer, self.memory)

    def restore(
        self, request: Request, call: Call, identity: Identity, now: float, whole: History | None
    ) -> Turn:
        """Take in a turn whose identity is on record, as after a restart.

        `whole` is its history, where that is known and need not be made of the messages.
        """
        agent = self._agent(call, request.client, identity.client_name, now, identity.agent_id)
        declared = self.declarations.read(request, call)
        question = Question(
            call, request.client, declared, agent, self.reader.plain, self.memory, self.settings,
            now,
        )  # fmt: skip
        if whole is not None:
            question.whole = whole
        scope = request.client.scope
        for said, id in (
            (declared.session, identity.session_id), (declared.parent, identity.parent_session_id),
            (declared.run, identity.root_session_id),
        ):  # fmt: skip
            if id and question.scope_of(id):
                self.owners.restored(said, id, scope)
        session = self.memory.get(identity.session_id)
        if session is None:
            session = self._session(request.client, identity, now)
        step = question.step
        match = Match(identity.because, identity.confidence, identity.evidence, session)
        if step is not None and step.point.session is session:
            is_again = step.at == len(question.history.links) and not step.point.is_reply
            match = (
                match._replace(again=step.point) if is_again else match._replace(before=step.point)
            )
        elif session.calls:
            match = match._replace(before=session.head)
        return self._remember(question, match, session, identity, request)

    def question(
        self, request: Request, call: Call, now: float, whole: History | None = None
    ) -> Question:
        """All that the identification of a call may look at; `whole` is its history, if known."""
        declared = self.declarations.read(request, call)
        agent = self._agent(call, request.client, declared.client_name, now)
        question = Question(
            call, request.client, declared, agent, self.reader.plain, self.memory, self.settings,
            now,
        )  # fmt: skip
        if whole is not None:
            question.whole = whole
        return question

    def decided(self, request: Request, question: Question, match: Match) -> Turn:
        """The turn that a call begins, as its identification has found."""
        if self.on_match is not None:
            self.on_match(question, match)
        origin = match.session or (match.before.session if match.before else None)
        if origin is not None and question.kind is Kind.MAIN:
            question.agent = self.agents.within(origin.agent_id, question.agent)
        identity = self._identity(question, match)
        session = match.session or self._session(request.client, identity, question.now)
        if match.before is not None and match.session is None:
            session.said = match.before.session.said[: match.before.turn]
        return self._remember(question, match, session, identity, request)

    def _agent(
        self, call: Call, client: Client, client_name: str, now: float, id: str = ""
    ) -> Agent:
        """Who asks; with neither prompt nor tools, whoever got the reply that the call names."""
        if not call.system and not call.tools:
            answered = self.memory.answered(client.scope, call.previous_response_id, now)
            known = self.agents.known(answered.session.agent_id) if answered else None
            if known is not None:
                return known
        return self.agents.recognise(call, client_name, id)

    def _identity(self, question: Question, match: Match) -> Identity:
        session, declared = match.session, question.declared
        parent_id = session.parent_id if session else self._owned(match.parent_id, question)
        id = session.id if session else self._owned(match.new_id, question)
        id = id or self._new_id("sess")
        parent = self.memory.get(parent_id)
        run = self._owned(declared.run, question)
        top = (parent.root_id if parent else run) or parent_id
        above = session.root_id if session else top
        return Identity(
            session_id=id,
            agent_id=declared.agent or question.agent.id,
            root_session_id=above or run or id,
            because=match.because,
            confidence=match.confidence,
            evidence=match.evidence,
            kind=question.kind,
            agent_name=declared.agent_name or question.agent.name,
            parent_session_id=parent_id,
            relation=session.relation if session else match.relation,
            client_name=declared.client_name,
            is_final=bool(declared.is_final),
            path=(*self._ancestors(parent_id), id),
        )

    def _ancestors(self, parent_id: str) -> list[str]:
        """A session's parent and what is above it, the root first."""
        found: list[str] = []
        while parent_id and parent_id not in found and len(found) < MAX_DEPTH:
            found.append(parent_id)
            parent = self.memory.get(parent_id)
            parent_id = parent.parent_id if parent else ""
        return found[::-1]

    def _owned(self, said: str, question: Question) -> str:
        """An id that a client declares, as ours: no name leads into another's."""
        known, scope = self.memory.get(said), question.client.scope
        is_free = (known and known.scope == scope) or not question.scope_of(said)
        return said if not said or is_free else self.owners.own(said, scope)

    def _session(self, client: Client, identity: Identity, now: float) -> Session:
        session = Session(identity.session_id, client, now)
        session.root_id, session.agent_id = identity.root_session_id, identity.agent_id
        session.parent_id, session.relation = identity.parent_session_id, identity.relation
        return session

    def _remember(
        self, question: Question, match: Match, session: Session, identity: Identity,
        request: Request,
    ) -> Turn:  # fmt: skip
        self.memory.touch(session, question.now)
        session.calls += 1
        self._name(session, question)
        is_first = session.head is None and (identity.kind is Kind.MAIN or session.calls == 1)
        if is_first:
            remember.opening(session, question.opening, self.memory, question.now, identity.kind)
        if question.company:
            self.memory.companies.add(session, question.company, session)
        is_known = match.session is not None
        if identity.kind is not Kind.MAIN:
            return Turn(request, question.call, identity, session, is_known=is_known)
        session.agent_id = question.agent.id
        point = remember.call(
            session, question.history, match.before, match.again, request.client,
            question.agent.id, self.memory, question.now,
        )  # fmt: skip
        return Turn(request, question.call, identity, session, point, is_known)

    def _name(self, session: Session, question: Question) -> None:
        """Let the ids that the client declared find the session from now on."""
        declared = question.declared
        is_main = session.id == self._owned(declared.run, question)  # of the run
        name = declared.session or (declared.run if is_main else "")
        if name:
            self.memory.declared.add(session, (question.scope_of(name), name), session)
        session.run = declared.run or session.run
        session.has_declared_id |= bool(name or declared.run)
