"""Identity that the client declares, read by the table in config/clients.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from urllib.parse import unquote

import msgspec

from callerid.identity.trust import ANYBODY, Trust
from callerid.settings.place import Place, Where, place
from callerid.settings.tables import ClientRow, ClientTable, KindRule
from callerid.turn import Because, Call, Kind, Relation, Request, Role, Stood
from callerid.wire import wirejson

MAX_USER_AGENTS = 1000  # remembered with the rows that they match
MAX_SHAPES = 1000  # of calls: a user agent, and which headers and members that rows look at
MAX_ID_BYTES = 256  # Dynamo, OpenRouter and AIBrix refuse longer ids
_PRINTABLE = re.compile(r"[ -~]+")
_TRUE = ("true", "1", "yes", "on")  # Dynamo's parse_bool_opt
_FALSE = ("false", "0", "no", "off")


class Declared(msgspec.Struct, frozen=True):
    """What a client says about itself; "" where it says nothing.

    `session` names the chain, `run` the whole run. `relation` is how the session came from its
    parent, `fork_point` where in a parent that it was forked from. `is_subagent` says that the call
    is not the main agent's, though it may not say whose.
    `is_of_agent` says that it is an agent's own way of saying so, not a gateway's.
    `place` is where the session (or the run) was found, and `because` the rung that this makes.
    `kind` and `is_final` are None where nothing was said.
    """

    session: str = ""
    run: str = ""
    parent: str = ""
    relation: Relation | None = None
    fork_point: str = ""
    is_subagent: bool = False
    is_of_agent: bool = False
    agent: str = ""
    agent_name: str = ""
    client_name: str = ""
    kind: Kind | None = None
    is_final: bool | None = None
    place: str = ""
    because: Because = Because.HEADER


class _Row:
    """A row of the table, and of what it speaks."""

    def __init__(self, row: ClientRow) -> None:
        self.row = row
        self.agent = re.compile(row.user_agent)
        places = [place(written) for written in row.places()]
        asks_words = any(each.where in (Where.SYSTEM, Where.USER) for each in places)
        self.is_always_asked = bool(row.user_agent) or asks_words
        self.headers = {each.name for each in places if each.where is Where.HEADER}
        named = [place(written) for written in (*row.session, *row.run)]
        # Headers that are an id as they stand; of others, as baggage, an id is only a part.
        self.naming = [each.name for each in named if each.is_plain_header]
        paths = [each.name for each in places if each.where is Where.BODY]
        self.members = {name for path in paths for name in (path, path.partition(".")[0])}

    def speaks_of(self, headers: Set[str], members: Set[str]) -> bool:
        """Whether a call has anything that the row looks at."""
        has_any = not self.headers.isdisjoint(headers) or not self.members.isdisjoint(members)
        return self.is_always_asked or has_any


class Declarations:
    """Reads what clients declare, by the rows of a table.

    Of those whose word is not taken: only which program they are, and what a call is for.
    """

    def __init__(self, table: ClientTable, trust: Trust = ANYBODY) -> None:
        self._trust = trust
        self._rows = [_Row(row) for row in table.clients]
        self._headers = {name for row in self._rows for name in row.headers}
        self._members = {name for row in self._rows for name in row.members}
        self._of_agents: dict[str, list[_Row]] = {}
        self._of_shapes: dict[tuple[str, Set[str], Set[str]], list[ClientRow]] = {}

    def read(self, request: Request, call: Call) -> Declared:
        """What the client of this call says about itself."""
        values = Places(request, call)
        rows = [
            row
            for row in self._rows_for(values, call)
            if all(values.at(written) for written in row.needs)
        ]
        kind = next(filter(None, (values.kind(row.kinds) for row in rows)), None)
        client_name = next((row.name for row in rows if row.user_agent), "")
        if not self._trust.takes(request.client.address):
            return Declared(client_name=client_name, kind=kind)
        said = next(self._sessions(rows, values), Declared())
        agent = next(filter(None, (values.first(row.agent) for row in rows)), "")
        final = (values.flag(row.final) for row in rows if row.final)
        return msgspec.structs.replace(
            said,
            agent=agent,
            kind=kind,
            is_final=next((flag for flag in final if flag is not None), None),
            client_name=client_name,
            agent_name=next(filter(None, (values.first(row.agent_name) for row in rows)), ""),
        )

    def long_id(self, request: Request) -> str:
        """The header that would name the session, were its value not too long; "" if none.

        Where a header that goes before it names one, nobody looks at it.
        """
        headers = {name: value.strip() for name, value in request.by_name.items()}
        if not self._trust.takes(request.client.address):
            return ""
        if not any(len(value) > MAX_ID_BYTES for value in headers.values()):
            return ""
        agent = headers.get("user-agent", "")
        rows = [row for row in self._rows if row.agent.search(agent)]
        for name in (name for row in rows for name in row.naming):
            if len(headers.get(name, "")) > MAX_ID_BYTES:
                return name
            if usable(headers.get(name)):
                return ""
        return ""

    def _rows_for(self, values: Places, call: Call) -> list[ClientRow]:
        """The rows that may have something to say: for most calls none, which must be quick."""
        headers = frozenset(self._headers & values.headers.keys())
        names = {name.partition(".")[0] for name, _ in call.members}
        shape = values.user_agent, headers, frozenset(names & self._members)
        speaking = self._of_shapes.get(shape)  # a client's calls are nearly all of one
        if speaking is None:
            if len(self._of_shapes) >= MAX_SHAPES:
                self._of_shapes.clear()
            speaking = self._of_shapes[shape] = [
                each.row for each in self._of_agent(values.user_agent) if each.speaks_of(*shape[1:])
            ]
        return speaking

    def _of_agent(self, user_agent: str) -> list[_Row]:
        rows = self._of_agents.get(user_agent)
        if rows is None:
            if len(self._of_agents) >= MAX_USER_AGENTS:
                self._of_agents.clear()
            rows = [row for row in self._rows if row.agent.search(user_agent)]
            self._of_agents[user_agent] = rows
        return rows

    @staticmethod
    def _sessions(rows: list[ClientRow], values: Places) -> Iterator[Declared]:
        for because in (Because.HEADER, Because.BODY):
            for row in rows:
                session, session_place = values.find(row.session, because)
                run, run_place = values.find(row.run, because)
                if session or run:
                    said_run = run or values.first(row.run)
                    if session and row.within_run and said_run:
                        session = f"{said_run}.{session}"
                    parent, relation = _parent(row, session, values)
                    yield Declared(
                        session=session,
                        run=run,
                        parent=parent,
                        relation=relation,
                        fork_point=values.at(row.fork_point) if row.fork_point else "",
                        is_subagent=bool(values.first(row.subagent)),
                        is_of_agent=bool(row.user_agent),
                        place=(session_place or run_place).partition(":")[2].partition("~")[0],
                        because=because,
                    )


def _parent(row: ClientRow, session: str, values: Places) -> tuple[str, Relation | None]:
    """The first declared parent but the session itself, and how the session came from it."""
    if session:
        for places, relation in ((row.fork, Relation.FORK), (row.parent, Relation.SUBAGENT)):
            said = (values.at(place) for place in places)
            if parent := next((value for value in said if value and value != session), ""):
                return parent, relation
    return "", None


class Places:
    """The values at the places of one request, each of them checked."""

    def __init__(self, request: Request, call: Call) -> None:
        self._call = call
        self.headers = request.by_name
        self.user_agent = self.headers.get("user-agent", "")

    def at(self, written: str, *, takes_flags: bool = False) -> str:
        """The value at a place; "" where there is none that can be used."""
        where = place(written)
        value = self._standing(where)
        if where.member:
            value = _member(wirejson.string(value), where.member)
        if takes_flags and isinstance(value, bool):
            value = "true" if value else "false"
        if where.inside and isinstance(value, str):
            value = wirejson.at(wirejson.decode_or_text(value), *where.inside)
        if where.pattern is not None:
            found = where.pattern.search(wirejson.string(value))
            value = (found[1] if found.re.groups else found[0]) if found else ""
        return usable(value)

    def _standing(self, where: Place) -> object:
        if where.where is Where.HEADER:
            return self.headers.get(where.name)
        if where.where is Where.BODY:
            return self._in_body(where.name)
        if where.where is Where.SYSTEM:
            return self._call.system
        users = [message for message in self._call.messages if message.role is Role.USER]
        return users[-1].text if users else ""

    def first(self, places: Iterable[str]) -> str:
        """The first value at some places."""
        return next(filter(None, map(self.at, places)), "")

    def find(self, places: Iterable[str], because: Because) -> tuple[str, str]:
        """The first value at those places that make a rung, and its place."""
        for written in places:
            if written.startswith(because) and (value := self.at(written)):
                return value, written
        return "", ""

    def flag(self, written: str) -> bool | None:
        """The flag at a place; None where there is none, or a word that is not a flag."""
        word = self.at(written, takes_flags=True).lower()
        return True if word in _TRUE else False if word in _FALSE else None

    def kind(self, rules: Iterable[KindRule]) -> Kind | None:
        """The kind by the first of some rules that fits."""
        for rule in rules:
            if value := self.at(rule.place, takes_flags=True):
                kind = rule.is_.get(value, rule.kind)
                if kind is not None:
                    return kind
        return None

    def _in_body(self, path: str) -> object:
        name, _, rest = path.partition(".")
        if raw := self._call.member(path):
            rest = ""
        else:
            raw = self._call.member(name)
        if not raw or isinstance(raw, Stood):  # what was said declares nothing
            return None
        return wirejson.at(wirejson.decode(raw), *(rest.split(".") if rest else ()))


def _member(pairs: str, name: str) -> str:
    """The value of one of the name=value pairs of a list, as W3C baggage has them."""
    for pair in pairs.split(","):
        key, _, value = pair.partition(";")[0].partition("=")
        if key.strip() == name:
            return unquote(value)
    return ""


def usable(value: object) -> str:
    """A declared value, trimmed; "" where it is empty, too long, or not plain ASCII."""
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= MAX_ID_BYTES and _PRINTABLE.fullmatch(text) else ""
