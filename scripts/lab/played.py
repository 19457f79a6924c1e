"""Calls taken to a desk without a proxy before it, and what it would have written down of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from callerid.dispatch.budgets import Budgets
from callerid.dispatch.dispatcher import Dispatcher
from callerid.dispatch.routes import Routes
from callerid.guard import Guard
from callerid.identity.candidates import Candidates
from callerid.identity.switchboard import Switchboard
from callerid.ids import new_id
from callerid.numbers import Numbers
from callerid.prices import Prices
from callerid.proxy.desk import Desk
from callerid.proxy.replies import Ending
from callerid.settings.load import load
from callerid.settings.values import RecordSettings
from callerid.stamp.stamper import Stamper
from callerid.stamp.upstreams import Upstreams
from callerid.traces.rows import Entry, State
from lab.agentwork import SHAPES, Turn, session
from lab.load import Wrong

LIVE = 40  # sessions at once, of varied calls
TURNS = 20  # of each of them


class Sink:
    """Takes entries as a recorder does, and writes them when it is told to."""

    most_reply_bytes = RecordSettings().reply_bytes

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sessions: set[str] = set()
        self.most_sessions = 0

    def put(self, entry: Entry) -> bool:
        """Take an entry, unless it is of one session too many."""
        if self.most_sessions and entry.identity is not None:
            if len(self.sessions) < self.most_sessions:
                self.sessions.add(entry.identity.session_id)
            if entry.identity.session_id not in self.sessions:
                return True
        self.entries.append(entry)
        return True

    def taken(self) -> list[Entry]:
        """What came since the last time."""
        entries, self.entries = self.entries, []
        return entries


@contextmanager
def desk_for(recorder: Sink, numbers: Numbers | None = None) -> Iterator[Desk]:
    """A desk as the addon makes it; raises Wrong where it noted any trouble."""
    configuration, guard = load(), Guard()
    upstreams = Upstreams(configuration.providers, configuration.profiles, ())
    stamper = Stamper(upstreams, sets=True, sends_final=False)
    board = Switchboard(configuration, new_id)
    candidates, numbers = Candidates(configuration.clients), numbers or Numbers(guard.counts)
    settings, prices = configuration.settings, Prices(configuration.prices)
    budgets, routes = Budgets(settings.rate_limiting, prices), Routes(settings.routing)
    dispatcher = Dispatcher(budgets, routes, board.declarations.long_id)
    yield Desk(board, stamper, recorder, guard, new_id, candidates, numbers, dispatcher)  # type: ignore[arg-type]
    if guard.counts:
        raise Wrong(f"the desk counted {dict(guard.counts)}")


def play(desk: Desk, turn: Turn, now: float, later: float | None = None) -> None:
    """Take a call and its reply to a desk, as the proxy does; raises Wrong."""
    taken = desk.take(turn.request, "", now)
    call = desk.send(taken, now).call if taken else None
    if call is None:
        raise Wrong(f"no call at {turn.request.path}")
    desk.replies.begins(call, 200, (("content-type", turn.content_type),))
    for chunk in turn.chunks:
        desk.replies.watch(call, chunk, now)
    size = sum(map(len, turn.chunks))
    desk.replies.end(call, Ending(State.OK, 200, now + 0.5 if later is None else later, now, size))


def varied(count: int) -> Iterator[Turn]:
    """So many calls of sessions of all shapes, several at once."""
    numbers = itertools.count()
    live: list[Iterator[Turn]] = []
    made = 0
    while made < count:
        while len(live) < LIVE:
            number = next(numbers)
            live.append(session(number, TURNS, SHAPES[number % len(SHAPES)]))
        turn = next(live[made % LIVE], None)
        if turn is None:
            live.pop(made % LIVE)
            continue
        made += 1
        yield turn
