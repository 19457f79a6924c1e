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
        self._hosts: dict[tuple[str, str], tuple[str, list[UpstreamRow]]] = {}
        self._newest: tuple[Request | None, Upstream] = None, Upstream("", Profile(source="none"))

    def of(self, request: Request) -> Upstream:
        """What is known of a request's upstream."""
        if request is not self._newest[0]:  # the same call is asked about again and again
            self._newest = request, self._of(request)
        return self._newest[1]

    def _of(self, request: Request) -> Upstream:
        provider, rows = self._host(request.host, request.authority)
        row = next((row for row in rows if _fits(row, request)), None)
        if row is None:
            return Upstream(provider, Profile(source="no row fits: left alone"))
        return Upstream(provider, self._profiles[row.profile])

    def _host(self, host: str, authority: str) -> tuple[str, list[UpstreamRow]]:
        """The provider of a host, and the rows that may fit its requests."""
        known = self._hosts.get((host, authority))
        if known is None:
            if len(self._hosts) >= MAX_HOSTS:
                self._hosts.clear()
            known = self._look_up(_plain(host), _plain(authority))
            self._hosts[host, authority] = known
        return known

    def _look_up(self, host: str, authority: str) -> tuple[str, list[UpstreamRow]]:
        """By the host that a request goes to; by the one that it names where that says no more.

        A client may name any host, but what goes to a public provider is not taken for private.
        """
        provider = self._provider(host)
        names = [host] if provider else [host, authority]
        provider = provider or self._provider(authority)
        return provider, [row for row in self._rows if _fits_host(row, names, provider)]

    def _provider(self, host: str) -> str:
        rows = self._providers.providers
        return next((row.name for row in rows if fits_any(host, row.hosts)), "")


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _fits_host(row: UpstreamRow, names: Iterable[str], provider: str) -> bool:
    if row.hosts and not any(fits_any(name, row.hosts) for name in names):
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
