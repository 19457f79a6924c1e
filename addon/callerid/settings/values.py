"""Every setting, with its default and what it may be; config/callerid.yaml gives the reasons."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from callerid.settings.checked import Port, Strict
from callerid.settings.tables import UpstreamRow

Share = Annotated[float, Meta(ge=0, le=1, description="a share between 0 and 1")]
Seconds = Annotated[float, Meta(gt=0, description="a number of seconds above 0")]
Count = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Limit = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Switch = Annotated[bool, Meta(description="true or false")]
Phrases = Annotated[tuple[str, ...], Meta(description="a list of texts")]
Text = Annotated[str, Meta(description="a text")]
Url = Annotated[
    str, Meta(pattern=r"^https?://[^/?#@\s]+/?$", description="a URL as http://10.0.0.7:8000")
]
Storage = Annotated[
    str,
    Meta(pattern=r"^(memory://|rediss?://.+)$", description="memory:// or redis://HOST:PORT/DB"),
]
Function = Annotated[
    str,
    Meta(pattern=r"^([\w.]+:\w+)?$", description='a function as package.module:function, or ""'),
]
Networks = Annotated[
    tuple[str, ...], Meta(description="a list of addresses and networks as 10.0.0.0/8")
]
FileName = Annotated[str, Meta(description='the path of a file, or ""')]


class PersistenceSettings(Strict, frozen=True):
    """Where sessions outlive the proxy, and which other proxies know them."""

    enabled: Switch = True
    backend: Literal["sqlite", "file", "redis", "postgres"] = "sqlite"
    connection: Text = ""
    deadline_seconds: Seconds | None = None

    @property
    def deadline(self) -> float:
        """How long an answer is waited for (seconds)."""
        return self.deadline_seconds or (0.005 if self.backend == "redis" else 0.05)

    @property
    def is_shared(self) -> bool:
        """Whether sessions lie in a place that several proxies may share."""
        return self.enabled and self.backend != "sqlite"


class SessionSettings(Strict, frozen=True):
    """How sessions are recognised."""

    enabled: Switch = True
    session_ttl_seconds: Seconds = 3600
    max_sessions: Limit = 10000
    fuzzy_matching: Switch = True
    fuzzy_threshold: Share = 0.8
    fuzzy_max_diff: Count = 2
    reset_phrases: Phrases = ("start over", "new conversation", "clear chat")
    min_messages_for_new_session: Count = 3
    trust_ids_across_credentials: Switch = False
    declare_from: Networks | None = None
    persistence: PersistenceSettings = PersistenceSettings()


class StampSettings(Strict, frozen=True):
    """What is written on requests and responses."""

    enabled: Switch = True
    upstreams: Annotated[tuple[UpstreamRow, ...], Meta(description="a list of rows")] = ()
    final: Switch = False
    return_ids: Switch = True


class HealthSettings(Strict, frozen=True):
    """How it is seen that an upstream is there."""

    every_seconds: Seconds = 5
    path: Text = ""


class RoutingSettings(Strict, frozen=True):
    """Which upstream each session is sent to, in reverse mode."""

    upstreams: Annotated[tuple[Url, ...], Meta(description="a list of URLs")] = ()
    mode: Literal["soft", "hard"] = "soft"
    affinity_ttl_secs: Seconds = 3600
    inherit: Switch = False
    health: HealthSettings = HealthSettings()


class Budget(Strict, frozen=True):
    """How much somebody may use; None is as much as he likes."""

    requests_per_minute: Limit | None = None
    tokens_per_hour: Limit | None = None
    usd: Annotated[float, Meta(gt=0, description="US dollars above 0")] | None = None


class RateLimitingSettings(Strict, frozen=True):
    """What sessions, agents and whole runs may use."""

    per_session: Budget = Budget()
    per_agent: Budget = Budget()
    per_root: Budget = Budget()
    action: Literal["warn", "block"] = "block"
    storage: Storage = "memory://"
    deadline_seconds: Seconds = 0.05


class RecordSettings(Strict, frozen=True):
    """What is written to traces.db."""

    enabled: Switch = True
    queue_size: Limit = 10000
    queue_bytes: Limit = 256 << 20
    flush_seconds: Seconds = 0.5
    own_process: Switch = True
    reply_bytes: Count = 8 << 20
    content: Literal["full", "redacted", "none"] = "full"
    redact: Function = ""
    keep_days: Annotated[float, Meta(ge=0, description="a number of days, 0 or more")] = 0
    keep_bytes: Count = 0


class StreamSettings(Strict, frozen=True):
    """What is kept of streamed replies."""

    viewable_bytes: Count = 8 << 20


class ViewSettings(Strict, frozen=True):
    """What mitmweb and mitmproxy's console keep."""

    keep_flows: Count = 2000
    keep_bytes: Count = 256 << 20


class ProxySettings(Strict, frozen=True):
    """What the proxy refuses."""

    refuse_ports: Annotated[tuple[Port, ...], Meta(description="a list of ports")] = ()


class AdminSettings(Strict, frozen=True):
    """Where those who run it can see how it is."""

    enabled: Switch = True
    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="a port, 0 to 65535")] = 8082
    token: Text = ""
    in_reverse_mode: Switch = True
    magic_host: Text = ""


class OtlpSettings(Strict, frozen=True):
    """Which collector gets a span for each call."""

    endpoint: Annotated[
        str,
        Meta(pattern=r"^(https?://[^\s@]+)?$", description='a URL as http://localhost:4318, or ""'),
    ] = ""
    headers: Annotated[dict[str, str], Meta(description="names of headers with their texts")] = (
        field(default_factory=dict)
    )
    content: Switch = False
    conventions: Literal["gen_ai", "openinference", "both"] = "gen_ai"
    queue_size: Limit = 2048
    queue_bytes: Limit = 64 << 20
    flush_seconds: Seconds = 2
    timeout_seconds: Seconds = 10


class ExportSettings(Strict, frozen=True):
    """Who is told of calls while they are made."""

    otlp: OtlpSettings = OtlpSettings()


class ClientSettings(Strict, frozen=True):
    """How calls are made by ourselves."""

    proxy: Annotated[
        str,
        Meta(
            pattern=r"^(http://[^\s/]+/?)?$",
            description='a URL as http://127.0.0.1:8080, or ""',
        ),
    ] = ""


class TableSettings(Strict, frozen=True):
    """Which tables are used; "" is the shipped one."""

    clients: FileName = ""
    providers: FileName = ""
    profiles: FileName = ""
    credentials: FileName = ""
    secrets: FileName = ""
    prices: FileName = ""


class Settings(Strict, frozen=True):
    """Everything that config/callerid.yaml can say."""

    session: SessionSettings = SessionSettings()
    stamp: StampSettings = StampSettings()
    routing: RoutingSettings = RoutingSettings()
    rate_limiting: RateLimitingSettings = RateLimitingSettings()
    record: RecordSettings = RecordSettings()
    stream: StreamSettings = StreamSettings()
    view: ViewSettings = ViewSettings()
    proxy: ProxySettings = ProxySettings()
    admin: AdminSettings = AdminSettings()
    export: ExportSettings = ExportSettings()
    client: ClientSettings = ClientSettings()
    tables: TableSettings = TableSettings()
