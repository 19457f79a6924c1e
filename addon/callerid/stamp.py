"""What is written on a request: header edits, decided here and made in one last step elsewhere."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from callerid.settings.tables import Profile, ProfileTable, ProviderTable, UpstreamRow
from callerid.turn import HeaderList, Identity


class Edit(NamedTuple):
    """A header to set; with value None, a header to take away."""

    name: str
    value: str | None


class Upstream(NamedTuple):
    """An upstream host: its provider's name ("" for an unknown one), and what it gets."""

    provider: str
    profile: Profile


class Stamper:
    """Decides the header edits for each upstream, by the tables of providers and profiles."""

    def __init__(self, providers: ProviderTable, profiles: ProfileTable, *, sets: bool) -> None:
        self._providers = providers
        self._profiles = profiles
        self._sets = sets
        self._upstreams: dict[str, Upstream] = {}

    def upstream(self, host: str) -> Upstream:
        """What is known of a host."""
        known = self._upstreams.get(host)
        if known is None:
            if len(self._upstreams) > 1000:  # hosts are few; a client that invents them is not ours
                self._upstreams.clear()
            known = self._upstreams[host] = self._look_up(host.lower().rstrip("."))
        return known

    def _look_up(self, host: str) -> Upstream:
        provider = next(
            (row.name for row in self._providers.providers if _fits_any(host, row.hosts)), ""
        )
        for row in self._profiles.upstreams:
            if _fits(row, host, provider):
                return Upstream(provider, self._profiles.profiles[row.profile])
        return Upstream(provider, Profile(source="no row fits: left alone"))

    def strips(self, headers: HeaderList, host: str) -> list[Edit]:
        """The headers that must not reach a host."""
        patterns = self.upstream(host).profile.strip
        return [Edit(name, None) for name, _ in headers if _fits_any(name.lower(), patterns)]

    def sets(self, identity: Identity, headers: HeaderList, host: str) -> list[Edit]:
        """The headers that a host wants to see; what the client said itself is kept."""
        if not self._sets:
            return []
        profile = self.upstream(host).profile
        present = {
            name.lower() for name, _ in headers if not _fits_any(name.lower(), profile.strip)
        }
        edits = (Edit(rule.header, part(identity, rule.part)) for rule in profile.set)
        return [
            edit
            for edit in edits
            if edit.value and (profile.override or edit.name.lower() not in present)
        ]


def part(identity: Identity, name: str) -> str:
    """A part of the identity, by the name it has in profiles."""
    return {
        "session": identity.session_id,
        "parent": identity.parent_session_id,
        "root": identity.root_session_id,
        "agent": identity.agent_id,
        "kind": str(identity.kind),
    }[name]


def returned(identity: Identity) -> list[Edit]:
    """The headers that tell the client how its call was identified."""
    edits = [
        Edit("x-callerid-session-id", identity.session_id),
        Edit("x-callerid-agent-id", identity.agent_id),
        Edit("x-callerid-parent-session-id", identity.parent_session_id),
        Edit("x-callerid-because", str(identity.because)),
    ]
    return [edit for edit in edits if edit.value]


def _fits(row: UpstreamRow, host: str, provider: str) -> bool:
    if row.hosts and not _fits_any(host, row.hosts):
        return False
    return not row.provider or (bool(provider) and row.provider in ("any", provider))


def _fits_any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
