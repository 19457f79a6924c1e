"""The key that a call is made with: from the environment, and only for whom it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from callerid.again.endpoints import BEARER, CannotCall, at_host, carried, key_of
from callerid.archive.calls import CallFacts
from callerid.credentials import MASK
from callerid.scopes import HEADERS
from callerid.settings.tables import ProviderTable
from callerid.traces import bodies


class Credential(NamedTuple):
    """The header that carries the key, and what it holds; "" is a call without one."""

    header: str = ""
    value: str = ""

    @property
    def masked(self) -> tuple[tuple[str, str], ...]:
        """The header as it may be shown."""
        return ((self.header, carried(self.header, MASK)),) if self.header else ()

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header as it is sent."""
        return ((self.header, self.value),) if self.header else ()


def header_for(table: ProviderTable, facts: CallFacts, variable: str = "") -> str:
    """The header in which a call like this carries its key; "" where it needs none."""
    names = [name.lower() for name, value in bodies.pairs(facts.request_headers) if MASK in value]
    recorded = [name for name in HEADERS if name in names]
    row = at_host(table, facts.host)
    has_key = bool(recorded) or f"={MASK}" in facts.path
    if row is not None and row.keys:
        return row.header if has_key or variable else ""
    if not has_key and not variable:
        return ""
    return recorded[0] if recorded else BEARER


def credential(
    table: ProviderTable, facts: CallFacts, environment: Mapping[str, str], variable: str = ""
) -> Credential:
    """The credential of a call; raises CannotCall where the environment has no key for it.

    `variable` names where it is. Without it only providers that are known have one: a key is sent
    to nobody else, whatever host a record names.
    """
    header = header_for(table, facts, variable)
    if not header:
        return Credential()
    if variable:
        key = environment.get(variable, "")
        if not key:
            raise CannotCall(f"{variable} is not set")
        return Credential(header, carried(header, key))
    row = at_host(table, facts.host)
    if row is None or not row.keys:
        raise CannotCall(
            f"no key is known for {facts.host} (config/providers.yaml has none): --key-from NAME "
            "names the environment variable that holds it"
        )
    key = key_of(row, environment)
    if not key:
        raise CannotCall(f"there is no key for {row.name}: set {' or '.join(row.keys)}")
    return Credential(header, carried(header, key))
