"""Identity that the client declares, read by the table in config/clients.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from callerid.settings.tables import ClientRow, ClientTable, KindRule
from callerid.turn import Because, Call, Kind, Request, Role
from callerid.wire import wirejson

MAX_ID_BYTES = 256  # Dynamo, OpenRouter and AIBrix refuse longer ids
_PRINTABLE = re.compile(r"[ -~]+")
_TRUE = ("true", "1", "yes", "on")  # Dynamo's parse_bool_opt
_FALSE = ("false", "0", "no", "off")


class Declared(msgspec.Struct, frozen=True):
    """What a client says about itself; "" where it says nothing.

    `session` names the chain, `run` the whole run. `place` is where the session (or the run) was
    found, and `because` the rung that this makes. `kind` and `is_final` are None where nothing
    was said.
    """

    session: str = ""
    run: str = ""
    parent: str = ""
    agent: str = ""
    agent_name: str = ""
    client_name: str = ""
    kind: Kind | None = None
    is_final: bool | None = None
    place: str = ""
    because: Because = Because.HEADER


class Declarations:
    """Reads what clients declare, by the rows of a table."""

    def __init__(self, table: ClientTable) -> None:
        self._rows = [(row, re.compile(row.user_agent)) for row in table.clients]

    def read(self, request: Request, call: Call) -> Declared:
        """What the client of this call says about itself."""
        values = Places(request, call)
        rows = [row for row, agent in self._rows if self._applies(row, agent, values)]
        kind = next(filter(None, (values.kind(row.kinds) for row in rows)), None)
        said = next(self._sessions(rows, values), Declared())
        agent = next(filter(None, (values.first(row.agent) for row in rows)), "")
        final = (values.flag(row.final) for row in rows if row.final)
        return msgspec.structs.replace(
            said,
            agent=agent,
            kind=kind,
            is_final=next((flag for flag in final if flag is not None), None),
            client_name=next((row.name for row in rows if row.user_agent), ""),
            agent_name=next(filter(None, (values.first(row.agent_name) for row in rows)), ""),
        )

    @staticmethod
    def _applies(row: ClientRow, agent: re.Pattern[str], values: Places) -> bool:
        if row.user_agent and not agent.search(values.user_agent):
            return False
        return all(values.at(place) for place in row.needs)

    @staticmethod
    def _sessions(rows: list[ClientRow], values: Places) -> Iterator[Declared]:
        for because in (Because.HEADER, Because.BODY):
            for row in rows:
                session, session_place = values.find(row.session, because)
                run, run_place = values.find(row.run, because)
                if session or run:
                    parents = (values.at(place) for place in row.parent)
                    others = (parent for parent in parents if parent and parent != session)
                    yield Declared(
                        session=session,
                        run=run,
                        parent=next(others, "") if session else "",
                        place=(session_place or run_place).partition(":")[2],
                        because=because,
                    )


class Places:
    """The values at the places of one request, each of them checked."""

    def __init__(self, request: Request, call: Call) -> None:
        self._request = request
        self._call = call
        self._headers: dict[str, str] = {}
        for name, value in request.headers:
            self._headers.setdefault(name.lower(), value)
        self.user_agent = self._headers.get("user-agent", "")

    def at(self, place: str) -> str:
        """The value at a place; "" where there is none that can be used."""
        where, _, path = place.partition(":")
        path, _, inside = path.partition("#")
        value = self._headers.get(path) if where == "header" else self._in_body(path)
        if inside and isinstance(value, str):
            value = wirejson.at(wirejson.decode_or_text(value), *inside.split("."))
        return usable(value)

    def first(self, places: Iterable[str]) -> str:
        """The first value at some places."""
        return next(filter(None, map(self.at, places)), "")

    def find(self, places: Iterable[str], because: Because) -> tuple[str, str]:
        """The first value at those places that make a rung, and its place."""
        for place in places:
            if place.startswith(because) and (value := self.at(place)):
                return value, place
        return "", ""

    def flag(self, place: str) -> bool | None:
        """The flag at a place; None where there is none, or a word that is not a flag."""
        word = self.at(place).lower()
        return True if word in _TRUE else False if word in _FALSE else None

    def kind(self, rules: Iterable[KindRule]) -> Kind | None:
        """The kind by the first of some rules that fits."""
        for rule in rules:
            if rule.has and rule.has in self._text(rule.place):
                return rule.kind
            if rule.is_ and (kind := rule.is_.get(self.at(rule.place))):
                return kind
        return None

    def _text(self, place: str) -> str:
        if place == "system":
            return self._call.system
        if place == "user":
            users = [message for message in self._call.messages if message.role is Role.USER]
            return users[-1].text if users else ""
        return self.at(place)

    def _in_body(self, path: str) -> object:
        name, _, rest = path.partition(".")
        raw = self._call.member(path)
        if raw:
            return wirejson.decode(raw)
        raw = self._call.member(name)
        return wirejson.at(wirejson.decode(raw), *rest.split(".")) if raw else None


def usable(value: object) -> str:
    """A declared value, trimmed; "" where it is empty, too long, or not plain ASCII."""
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= MAX_ID_BYTES and _PRINTABLE.fullmatch(text) else ""
