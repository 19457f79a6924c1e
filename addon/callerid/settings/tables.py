"""The rows of the tables in config/: clients, providers, profiles, environment."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from callerid.settings.checked import Port, Strict
from callerid.turn import Dialect, Kind


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
    fork_point: str = ""
    subagent: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    agent_name: tuple[str, ...] = ()
    final: str = ""
    kinds: tuple[KindRule, ...] = ()

    def places(self) -> list[str]:
        """All places that the row speaks of, as they are written."""
        written = [
            *self.needs, *self.session, *self.run, *self.parent, *self.fork, *self.subagent,
            *self.agent, *self.agent_name, self.fork_point, self.final,
            *(rule.place for rule in self.kinds),
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
    """A known LLM host, and how it is called by ourselves; see config/providers.yaml."""

    name: str
    hosts: tuple[str, ...]
    source: str
    also: tuple[str, ...] = ()
    dialect: Dialect | None = None
    base_url: str = ""
    keys: tuple[str, ...] = ()
    header: str = "authorization"


class ProviderTable(Strict, frozen=True):
    """config/providers.yaml."""

    providers: tuple[ProviderRow, ...]


HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]*$", description="a header's name")]
Part = Literal[
    "session", "parent", "root", "child", "path", "agent", "agent_name", "name", "client", "kind",
    "final", "is_subagent", "traceparent", "baggage",
]  # fmt: skip
Longest = Annotated[int, Meta(ge=1, description="a number of characters")]


class HeaderRule(Strict, frozen=True):
    """A header to set, and the part of the identity that it carries.

    A value of more than `most` characters is not sent: cut off, it would be another id.
    """

    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+$", description="a header's name")]
    part: Part
    most: Longest = 256


class BodyRule(Strict, frozen=True):
    """A member to add to a JSON body that has none of its name."""

    member: str
    part: Part
    most: Longest = 256


class Profile(Strict, frozen=True):
    """Which identity headers one kind of upstream wants.

    `gate` is a header without which nothing is set; what `keep` names is neither stripped nor
    written over.
    """

    source: str
    set: tuple[HeaderRule, ...] = ()
    body: tuple[BodyRule, ...] = ()
    strip: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    gate: HeaderName = ""
    override: bool = False


class UpstreamRow(Strict, frozen=True):
    """Which profile an upstream gets; it fits where all that it names fits."""

    profile: str
    hosts: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    paths: tuple[str, ...] = ()
    header: HeaderName = ""
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


class SubjectRow(Strict, frozen=True):
    """A claim of JSON web tokens that says for whom they speak."""

    claim: str
    source: str


class CredentialTable(Strict, frozen=True):
    """config/credentials.yaml."""

    renewed: tuple[CredentialRow, ...]
    subjects: tuple[SubjectRow, ...] = ()


class SecretRow(Strict, frozen=True):
    """What one kind of secret looks like; a group of the pattern is what is masked."""

    name: str
    pattern: str
    source: str
    holds: tuple[str, ...] = ()
    luhn: bool = False


class SecretTable(Strict, frozen=True):
    """config/secrets.yaml."""

    secrets: tuple[SecretRow, ...]


Dollars = Annotated[float, Meta(ge=0, description="US dollars, 0 or more")]


class PriceRow(Strict, frozen=True):
    """What a model costs, in US dollars for a million tokens; `call` is for each call.

    What is read from a cache or written to it costs as much as `input` where nothing is said of it.
    """

    model: str
    input: Dollars
    output: Dollars
    source: str
    hosts: tuple[str, ...] = ()
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    call: Dollars = 0.0


class StatedRow(Strict, frozen=True):
    """The member of a provider's usage in which it says itself what a call cost, in US dollars."""

    provider: str
    member: str
    source: str


class HourRow(Strict, frozen=True):
    """What a write to the cache that is kept for an hour costs, in times of the input's price."""

    times_input: Dollars
    source: str


class ClosedRow(Strict, frozen=True):
    """Models (shell patterns) that only their maker and his licensees run."""

    models: tuple[str, ...]
    source: str


class PriceTable(Strict, frozen=True):
    """config/prices.yaml."""

    hour: HourRow
    closed: ClosedRow
    stated: tuple[StatedRow, ...] = ()
    models: tuple[PriceRow, ...] = ()


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
