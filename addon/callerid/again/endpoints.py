"""Who can be called by ourselves: where, in which dialect, and with the key from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from callerid.settings.tables import ProviderRow, ProviderTable
from callerid.stamp.upstreams import fits_any
from callerid.turn import Dialect

BEARER = "authorization"  # a key in it stands after this word; in other headers it stands alone
NO_KEY = "none"  # what servers are told that want no key, but whose SDK does


class CannotCall(ValueError):
    """A provider that cannot be called; the message says what is missing."""


class Endpoint(NamedTuple):
    """A provider as it is called: `base_url` ends before the dialect's own path."""

    provider: str
    dialect: Dialect
    base_url: str
    key: str


def endpoint(
    table: ProviderTable, name: str, environment: Mapping[str, str], *, base_url: str = "",
    key: str = "",
) -> Endpoint:  # fmt: skip
    """The provider of a name, as config/providers.yaml has it; raises CannotCall.

    With a `base_url` it may be one of nobody's: then it speaks as OpenAI's chat does.
    """
    row = named(table, name)
    if row is None and not base_url:
        known = ", ".join(row.name for row in table.providers if row.base_url)
        raise CannotCall(f"expected one of {known}, or a base_url; got {name!r}")
    if row is None or (row.dialect is None and base_url):
        own = ProviderRow(name, (), "ours") if row is None else row
        return Endpoint(
            name, Dialect.OPENAI_CHAT, base_url, key or key_of(own, environment) or NO_KEY
        )
    if row.dialect is None:
        raise CannotCall(f"{row.name} can be called with a base_url of yours only")
    found = key or key_of(row, environment)
    if not found and not base_url:
        raise CannotCall(f"there is no key for {row.name}: set {' or '.join(row.keys)}")
    return Endpoint(row.name, row.dialect, base_url or row.base_url, found or NO_KEY)


def named(table: ProviderTable, name: str) -> ProviderRow | None:
    """The row of a provider, by its name or another that people have for it."""
    return next((row for row in table.providers if name in (row.name, *row.also)), None)


def at_host(table: ProviderTable, host: str) -> ProviderRow | None:
    """The row of the provider at a host."""
    return next((row for row in table.providers if fits_any(host.lower(), row.hosts)), None)


def key_of(row: ProviderRow, environment: Mapping[str, str]) -> str:
    """The key of a provider; "" where the environment has none."""
    return next((environment[name] for name in row.keys if environment.get(name)), "")


def carried(header: str, key: str) -> str:
    """A key as a header carries it."""
    return f"Bearer {key}" if header == BEARER else key
