"""Which upstream a request goes to: whose it is, and which profile it gets."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from callerid.settings.tables import Profile, ProfileTable, ProviderTable, UpstreamRow
from callerid.turn import Request

MAX_HOSTS = 1000  # remembered; hosts are few, and a client that invents them is not ours


class Upstream(NamedTuple):
    """An upstream: its provider's name ("" for an unknown one), and what it gets."""

    provider: str
    profile: Profile


class Upstreams:
    """Finds the upstream of a request, by the tables of providers and profiles.

    `named` are the operator's own rows, which are asked before those of the table.
    """

    def __init__(
        self, providers: ProviderTable, profiles: ProfileTable, named: Iterable[UpstreamRow] = ()
    ) -> None:
        self._providers = providers
        self._profiles = profiles.profiles
        self._rows = (*named, *profiles.upstreams)
        self._hosts: dict[str, tuple[str, list[UpstreamRow]]] = {}

    def of(self, request: Request) -> Upstream:
        """What is known of a request's upstream."""
        provider, rows = self._host(request.host)
        row = next((row for row in rows if _fits(row, request)), None)
        if row is None:
            return Upstream(provider, Profile(source="no row fits: left alone"))
        return Upstream(provider, self._profiles[row.profile])

    def _host(self, host: str) -> tuple[str, list[UpstreamRow]]:
        """The provider of a host, and the rows that may fit its requests."""
        known = self._hosts.get(host)
        if known is None:
            if len(self._hosts) >= MAX_HOSTS:
                self._hosts.clear()
            known = self._hosts[host] = self._look_up(host.lower().rstrip("."))
        return known

    def _look_up(self, host: str) -> tuple[str, list[UpstreamRow]]:
        provider = next(
            (row.name for row in self._providers.providers if fits_any(host, row.hosts)), ""
        )
        return provider, [row for row in self._rows if _fits_host(row, host, provider)]


def _fits_host(row: UpstreamRow, host: str, provider: str) -> bool:
    if row.hosts and not fits_any(host, row.hosts):
        return False
    return not row.provider or (bool(provider) and row.provider in ("any", provider))


def _fits(row: UpstreamRow, request: Request) -> bool:
    if row.ports and request.port not in row.ports:
        return False
    if row.paths and not fits_any(request.path.partition("?")[0], row.paths):
        return False
    return not row.header or bool(request.header(row.header.lower()))


def fits_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of some shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
