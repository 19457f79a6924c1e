"""Identifies calls by what all proxies know: looks, decides, claims; and tells what came of it.

Memory is what identification reads, as ever. Before it does, what the engine knows by the names in
a call is taken into it, and afterwards the session's next version is claimed: if somebody else has
claimed it meanwhile, what was decided is undone and decided again. What cannot be asked in time is
decided by memory alone, told later, and joined with what others have told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from callerid.dispatch.routes import Routes
from callerid.guard import Guard
from callerid.identity.history import History
from callerid.identity.identify import identify
from callerid.identity.match import Match
from callerid.identity.owners import spellings
from callerid.identity.question import Question, scope_of
from callerid.identity.session import State
from callerid.identity.switchboard import Switchboard, Turn
from callerid.sharing import names
from callerid.sharing.agents import AGENTS, SharedAgents
from callerid.sharing.asking import Asking, Late
from callerid.sharing.engine import Away, Engine, Found
from callerid.sharing.forgotten import Forgotten
from callerid.sharing.hearing import Hearing
from callerid.sharing.held import Holding
from callerid.sharing.names import Asked
from callerid.sharing.publishing import Publisher, is_shared
from callerid.sharing.telling import Telling
from callerid.turn import Call, Request

TRIES = 16  # to decide and claim; who has to wait for others tries again
OWNED_SECONDS = 7 * 86400.0  # for so long a declared id belongs to who declared it first
OPENING_SECONDS = 1.0  # that calls wait for a proxy that has just begun, to be connected
BEYOND = 1000  # sessions that memory has forgotten, before they are let go here too
BUSY = "a session was claimed by others again and again; this proxy goes by what it knows itself"


class Sharing:
    """What one proxy shares with others by an engine.

    `clock` is seconds since the epoch, `name` this proxy's, which no other has. `deadline` is how
    long an answer is waited for (seconds); without `keeps_words` no word that was said is told.
    """

    def __init__(
        self, engine: Engine, board: Switchboard, routes: Routes, guard: Guard,
        clock: Callable[[], float], name: str, *, deadline: float, keeps_words: bool,
    ) -> None:  # fmt: skip
        memory = board.memory
        self.engine = engine
        self.has_joined = False  # until the key of all proxies is known, customers differ
        self.opening: asyncio.Task[None] | None = None  # while a proxy that begins connects
        self._asking = Asking(engine, deadline, guard)
        self._board = board
        self._guard = guard
        self._routes = routes
        self._thinking: set[asyncio.Task[None]] = set()
        self._instead: dict[str, Turn] = {}  # of sessions begun alone whose call is another's
        self._holding = Holding(memory.max_sessions + BEYOND)
        self._hearing = Hearing(memory, self._holding, routes)
        self._agents = SharedAgents(board.agents, keeps_words=keeps_words)
        self.forgotten = Forgotten(self._asking, memory, self._holding, guard, name)
        telling = Telling(memory, self._holding, routes, name, keeps_words=keeps_words)
        self.publisher = Publisher(
            self._asking, telling, self._hearing, self._holding, self._agents, memory, clock,
            self.forgotten,
        )  # fmt: skip

    async def identify(self, request: Request, call: Call, now: float) -> Turn:
        """The turn that a call begins, by what all know; by what this proxy knows, if need be."""
        if not self._board.settings.enabled or not self.has_joined:
            return self._board.identify(request, call, now)
        if self.opening is not None and not self.opening.done():
            await asyncio.wait({self.opening}, timeout=OPENING_SECONDS)
        if self._asking.is_there:
            with self._guard("sharing"), suppress(Late, Away):  # those were counted
                return await self._together(request, call, now)
        turn = self._board.identify(request, call, now)
        if turn.point is None or turn.is_known or turn.point.before is not None:
            self.told(turn)
        else:
            thinking = asyncio.create_task(self._think_again(turn, now))
            self._thinking.add(thinking)
            thinking.add_done_callback(self._thinking.discard)
        return turn

    def told(self, turn: Turn) -> None:
        """Tell the engine, when the loop comes to it, what has become of a turn's session."""
        session, point = turn.session, turn.point
        if (
            session is None
            or not self.has_joined
            or self._board.memory.get(session.id) is not session
        ):
            return
        self.publisher.changed(session, [point])
        before = point.before if point is not None else None
        if before is not None and before.session is not session and not turn.is_known:
            self.publisher.changed(before.session, [before])

    def as_known(self, turn: Turn) -> Turn:
        """A turn that is about to be answered, as it was identified in the end."""
        return self._instead.pop(turn.session.id, turn) if turn.session is not None else turn

    def placed(self, turn: Turn) -> None:
        """Tell the engine where a turn's session is sent, if that is news."""
        held = self._holding.known(turn.session)
        if held is None or not self.has_joined:
            return
        now, before = self._routes.bound(held.session.id), held.bound
        if (now and (now[0], now[2])) != (before and (before[0], before[2])):
            self.told(turn)

    def tell_anew(self, ids: Iterable[str]) -> None:
        """Tell the engine of sessions that were read anew, as after a person's correction.

        Those that are not there any more the others forget, too.
        """
        ids = {id for id in ids if is_shared(id)}
        gone = {id for id in ids if self._board.memory.get(id) is None}
        self.forgotten.tell(gone)
        if self.has_joined:
            self.publisher.tell_anew(ids - gone)

    def close(self) -> None:
        """Tell no more."""
        for thinking in self._thinking:
            thinking.cancel()
        self.publisher.close()
        self._asking.engine.close()

    async def _think_again(self, turn: Turn, now: float) -> None:
        """Where a session was begun alone, see what the engine says of its call when it answers.

        If another session had reached its history, that one goes on, and only this call, of which
        its client was told already, bears another id. Not where it has been answered meanwhile.
        """
        session, point, memory = turn.session, turn.point, self._board.memory
        assert session is not None
        request, call = turn.request, turn.call
        with self._guard("sharing"), suppress(Away):
            asked = self._exact(request, call)
            ids = [id for id in asked.ids if is_shared(id)]
            found = await self._asking.whenever(lambda engine: engine.look(asked.names, ids, {}))
            self._heard(found)
            is_open = point is not None and point.state is State.IN_FLIGHT
            if is_open and session.calls == 1 and memory.get(session.id) is session:
                seen, session.seen = session.seen, float("-inf")  # nobody finds it for a moment
                question, match = self._ask(request, call, now, None)
                session.seen = seen
                if match.session is not None and names.is_settled(question, match):
                    memory.openings.forget(session)
                    memory.forget(session.id)
                    self._instead[session.id] = again = self._board.decided(
                        request, question, match
                    )
                    turn = again
        self.told(turn)

    def _exact(self, request: Request, call: Call, whole: History | None = None) -> Asked:
        board, client = self._board, request.client
        whole = whole or board.memory.trails.history(client.scope, call.messages)
        return names.exact(
            call, client, board.declarations.read(request, call),
            lambda id: scope_of(id, client, board.settings), whole, board.memory,
        )  # fmt: skip

    async def _together(self, request: Request, call: Call, now: float) -> Turn:
        board, client = self._board, request.client
        whole = board.memory.trails.history(client.scope, call.messages)
        for _ in range(TRIES):
            asked = self._exact(request, call, whole)
            asks_all = not asked.ids and not whole.model_units()  # nothing exact settles an opening
            if asks_all:
                asked = asked.with_more(names.alike(self._ask(request, call, now, whole)[0]))
                self._agents.forget_new()
            await self._learn(asked)
            question, match = self._ask(request, call, now, whole)
            if not asks_all and not names.is_settled(question, match):
                await self._learn(names.alike(question))
                question, match = self._ask(request, call, now, whole)
            sessions = [match.session] if match.session else []
            sessions += [match.before.session] if match.before else []
            if await self.publisher.is_busy(sessions):
                continue
            if match.session is None:
                for id in {match.new_id, match.parent_id, question.declared.run}:
                    if id and is_shared(id) and question.scope_of(id):
                        await self._own(id, client.scope)
            turn = board.decided(request, question, match)
            if await self.publisher.claim(turn):
                return turn
        self._guard.note("sharing_busy", BUSY)
        raise Late

    def _ask(
        self, request: Request, call: Call, now: float, whole: History | None
    ) -> tuple[Question, Match]:
        question = self._board.question(request, call, now, whole)
        return question, identify(question)

    async def _learn(self, asked: Asked) -> None:
        """Take in what the engine knows by some names; raises Late and Away."""
        helds = filter(None, map(self._holding.known, asked.sessions))
        known = {held.session.id: held.version for held in helds if held.version}
        ids = [id for id in asked.ids if is_shared(id)]
        known[AGENTS] = self._agents.version
        lacking = self._heard(await self._asking.look(asked.names, [*ids, AGENTS], known))
        if lacking:
            self._heard(await self._asking.look([], [id for id in lacking if is_shared(id)], {}))

    def _heard(self, found: Iterable[Found]) -> set[str]:
        sessions = []
        for one in found:
            if one.id == AGENTS:
                self._agents.take_in(one)
            else:
                sessions.append(one)
        return self._hearing.take_in(sessions)

    async def _own(self, id: str, scope: str) -> None:
        """Let an id be of the customer who had it first, wherever that was, and so its marks."""
        owners = self._board.owners
        for spelt in spellings(id, scope):
            owner = await self._claimed(spelt, owners.claimant(spelt, scope))
            owners.owned(spelt, owner)
            if owner == scope:
                return

    async def _claimed(self, id: str, scope: str) -> str:
        owner = await self._asking.within(
            lambda engine: engine.claim(f"owner/{id}", scope.encode(), OWNED_SECONDS)
        )
        return owner.decode()
