"""The rows of the tables in config/: clients, providers, profiles, environment."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from callerid.settings.checked import Strict
from callerid.turn import Kind


class KindRule(Strict, frozen=True, rename={"is_": "is"}):
    """One sign of what a call is for: that a place has a value, or which one it has."""

    place: str
    is_: dict[str, Kind] = msgspec.field(default_factory=dict)
    kind: Kind | None = None


class ClientRow(Strict, frozen=True):
    """How one client or protocol declares identity; see config/clients.yaml."""

    name: str
    source: str
    user_agent: str = ""
    needs: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    within_run: bool = False
    parent: tuple[str, ...] = ()
    fork: tuple[str, ...] = ()
    subagent: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    agent_name: tuple[str, ...] = ()
    final: str = ""
    kinds: tuple[KindRule, ...] = ()

    def places(self) -> list[str]:
        """All places that the row speaks of, as they are written."""
        written = [
            *self.needs, *self.session, *self.run, *self.parent, *self.fork, *self.subagent,
            *self.agent, *self.agent_name, self.final, *(rule.place for rule in self.kinds),
        ]  # fmt: skip
        return [text for text in written if text]


class InjectedBlock(Strict, frozen=True):
    """A kind of block that a client injects into messages."""

    tag: str
    source: str


class ClientTable(Strict, frozen=True):
    """config/clients.yaml."""

    clients: tuple[ClientRow, ...]
    injected_blocks: tuple[InjectedBlock, ...] = ()


class ProviderRow(Strict, frozen=True):
    """A known LLM host."""

    name: str
    hosts: tuple[str, ...]
    source: str


class ProviderTable(Strict, frozen=True):
    """config/providers.yaml."""

    providers: tuple[ProviderRow, ...]


class HeaderRule(Strict, frozen=True):
    """A header to set, and the part of the identity that it carries."""

    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+$", description="a header's name")]
    part: Annotated[
        str,
        Meta(
            pattern="^(session|parent|root|agent|kind)$",
            description="one of session, parent, root, agent, kind",
        ),
    ]


class Profile(Strict, frozen=True):
    """Which identity headers one kind of upstream wants."""

    source: str
    set: tuple[HeaderRule, ...] = ()
    strip: tuple[str, ...] = ()
    override: bool = False


class UpstreamRow(Strict, frozen=True):
    """Which profile an upstream gets."""

    profile: str
    hosts: tuple[str, ...] = ()
    provider: str = ""


class ProfileTable(Strict, frozen=True):
    """config/profiles.yaml."""

    profiles: dict[str, Profile]
    upstreams: tuple[UpstreamRow, ...]


class CredentialRow(Strict, frozen=True):
    """A kind of credential that is renewed; a group of the pattern is what stays."""

    name: str
    pattern: str
    source: str


class CredentialTable(Strict, frozen=True):
    """config/credentials.yaml."""

    renewed: tuple[CredentialRow, ...]


class EnvironmentRow(Strict, frozen=True):
    """Which environment variables one client heeds."""

    name: str
    source: str
    proxy: tuple[str, ...]
    trust: tuple[str, ...]
    command: str = ""


class EnvironmentTable(Strict, frozen=True):
    """config/environment.yaml."""

    clients: tuple[EnvironmentRow, ...]
