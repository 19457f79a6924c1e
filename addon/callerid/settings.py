"""Settings and tables, read from YAML and checked: a mistake is named, with what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import msgspec
import yaml
from msgspec import Meta

from callerid.turn import Kind

# In a checkout config/ stands beside addon/; in an installed package it is inside.
_INSTALLED = Path(__file__).parent / "config"
CONFIG_DIR = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "config"

Share = Annotated[float, Meta(ge=0, le=1, description="a share between 0 and 1")]
Seconds = Annotated[float, Meta(gt=0, description="a number of seconds above 0")]
Count = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Limit = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Switch = Annotated[bool, Meta(description="true or false")]
Phrases = Annotated[tuple[str, ...], Meta(description="a list of texts")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port, 1 to 65535")]
FileName = Annotated[str, Meta(description='the path of a file, or ""')]


class BadSetting(ValueError):
    """A setting or table that cannot be used; the message says what, where and what is allowed."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refuses names it does not know: a misspelt setting must not be ignored."""


class SessionSettings(_Strict, frozen=True):
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


class StampSettings(_Strict, frozen=True):
    """What is written on requests and responses."""

    enabled: Switch = True
    return_ids: Switch = True


class RecordSettings(_Strict, frozen=True):
    """What is written to traces.db."""

    enabled: Switch = True
    queue_size: Limit = 10000
    flush_seconds: Seconds = 0.5


class StreamSettings(_Strict, frozen=True):
    """What is kept of streamed replies."""

    viewable_bytes: Count = 8 << 20


class ProxySettings(_Strict, frozen=True):
    """What the proxy refuses."""

    refuse_ports: Annotated[tuple[Port, ...], Meta(description="a list of ports")] = ()


class TableSettings(_Strict, frozen=True):
    """Which tables are used; "" is the shipped one."""

    clients: FileName = ""
    providers: FileName = ""
    profiles: FileName = ""


class Settings(_Strict, frozen=True):
    """Everything that config/callerid.yaml can say."""

    session: SessionSettings = SessionSettings()
    stamp: StampSettings = StampSettings()
    record: RecordSettings = RecordSettings()
    stream: StreamSettings = StreamSettings()
    proxy: ProxySettings = ProxySettings()
    tables: TableSettings = TableSettings()


class KindRule(_Strict, frozen=True, rename={"is_": "is"}):
    """One sign of what a call is for: a value at a place, or a text that the place contains."""

    place: str
    is_: dict[str, Kind] = {}
    has: str = ""
    kind: Kind = Kind.MAIN


class ClientRow(_Strict, frozen=True):
    """How one client or protocol declares identity; see config/clients.yaml."""

    name: str
    source: str
    user_agent: str = ""
    needs: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    agent_name: tuple[str, ...] = ()
    final: str = ""
    kinds: tuple[KindRule, ...] = ()


class InjectedBlock(_Strict, frozen=True):
    """A kind of block that a client injects into messages."""

    tag: str
    source: str


class ClientTable(_Strict, frozen=True):
    """config/clients.yaml."""

    clients: tuple[ClientRow, ...]
    injected_blocks: tuple[InjectedBlock, ...] = ()


class ProviderRow(_Strict, frozen=True):
    """A known LLM host."""

    name: str
    hosts: tuple[str, ...]
    source: str


class ProviderTable(_Strict, frozen=True):
    """config/providers.yaml."""

    providers: tuple[ProviderRow, ...]


class HeaderRule(_Strict, frozen=True):
    """A header to set, and the part of the identity that it carries."""

    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+$", description="a header's name")]
    part: Annotated[
        str,
        Meta(
            pattern="^(session|parent|root|agent|kind)$",
            description="one of session, parent, root, agent, kind",
        ),
    ]


class Profile(_Strict, frozen=True):
    """Which identity headers one kind of upstream wants."""

    source: str
    set: tuple[HeaderRule, ...] = ()
    strip: tuple[str, ...] = ()
    override: bool = False


class UpstreamRow(_Strict, frozen=True):
    """Which profile an upstream gets."""

    profile: str
    hosts: tuple[str, ...] = ()
    provider: str = ""


class ProfileTable(_Strict, frozen=True):
    """config/profiles.yaml."""

    profiles: dict[str, Profile]
    upstreams: tuple[UpstreamRow, ...]


class Configuration(msgspec.Struct, frozen=True):
    """The settings with the tables that they name."""

    settings: Settings
    clients: ClientTable
    providers: ProviderTable
    profiles: ProfileTable


_Table = TypeVar("_Table", bound=msgspec.Struct)


def load(path: str = "") -> Configuration:
    """Read the settings file at `path` ("" for the defaults) and the tables; raises BadSetting."""
    settings = _read(Path(path), Settings) if path else Settings()
    beside = Path(path).parent
    tables = settings.tables
    configuration = Configuration(
        settings,
        _read(_table(tables.clients, "clients", beside), ClientTable),
        _read(_table(tables.providers, "providers", beside), ProviderTable),
        _read(_table(tables.profiles, "profiles", beside), ProfileTable),
    )
    _check_profiles(configuration.profiles, _table(tables.profiles, "profiles", beside))
    _check_clients(configuration.clients, _table(tables.clients, "clients", beside))
    return configuration


def _table(name: str, shipped: str, beside: Path) -> Path:
    return beside / Path(name).expanduser() if name else CONFIG_DIR / f"{shipped}.yaml"


def _read(path: Path, shape: type[_Table]) -> _Table:
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadSetting(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise BadSetting(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    try:
        return msgspec.convert(value if value is not None else {}, shape)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{path}: {_explain(str(error), value, shape)}") from None


def _explain(complaint: str, value: object, shape: type[msgspec.Struct]) -> str:
    """The complaint of msgspec as a sentence with the setting's name, value, meaning, default."""
    what, _, where = complaint.rpartition(" - at `$")
    if not what:
        what, where = complaint, "`"
    names = re.findall(r"[A-Za-z_][\w-]*|\[\d+\]", where)
    if unknown := re.search(r"unknown field `(.+)`", what):
        known = ", ".join(_fields(_shape_at(shape, names)))
        return f"{'.'.join([*names, unknown[1]])} is not a setting; there are {known}"
    said = value
    for name in names:
        said = _step(said, name)
    if not names or "missing required" in what:
        return f"{'.'.join(names) or 'the file'}: {what}"
    field = _fields(_shape_at(shape, names[:-1])).get(names[-1])
    if field is None:
        return f"{'.'.join(names)} = {said!r}, but {what}"
    meaning = next((m.description for m in _metas(field.type) if m.description), "")
    if not meaning:
        return f"{'.'.join(names)} = {_shown(said)}, but {what}"
    default = "" if field.default is msgspec.NODEFAULT else f" (default {_shown(field.default)})"
    return f"{'.'.join(names)} = {_shown(said)}, but it is {meaning}{default}"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _step(value: object, name: str) -> object:
    if name.startswith("[") and isinstance(value, list):
        return value[int(name[1:-1])]
    return value.get(name) if isinstance(value, dict) else None


def _shape_at(shape: object, names: list[str]) -> object:
    for name in names:
        if name.startswith("["):
            shape = get_args(shape)[0] if get_args(shape) else object
            continue
        field = _fields(shape).get(name)
        shape = field.type if field is not None else object
        shape = get_args(shape)[0] if _metas(shape) else shape
    return shape


def _metas(type: object) -> list[Meta]:
    return [meta for meta in getattr(type, "__metadata__", ()) if isinstance(meta, Meta)]


def _fields(shape: object) -> dict[str, msgspec.structs.FieldInfo]:
    if not (isinstance(shape, type) and issubclass(shape, msgspec.Struct)):
        return {}
    return {field.encode_name: field for field in msgspec.structs.fields(shape)}


def _check_profiles(table: ProfileTable, path: Path) -> None:
    for index, row in enumerate(table.upstreams):
        if row.profile not in table.profiles:
            raise BadSetting(
                f"{path}: upstreams[{index}].profile = {row.profile!r}, but it is one of "
                + ", ".join(table.profiles)
            )


def _check_clients(table: ClientTable, path: Path) -> None:
    for row in table.clients:
        try:
            re.compile(row.user_agent)
        except re.error as error:
            raise BadSetting(
                f"{path}: {row.name}.user_agent = {row.user_agent!r}, "
                f"but it is a regular expression ({error})"
            ) from None
        places = [*row.needs, *row.session, *row.run, *row.parent, *row.agent, *row.agent_name]
        places += [row.final] if row.final else []
        kinds = [rule.place for rule in row.kinds if rule.place not in ("system", "user")]
        for place in [*places, *kinds]:
            if not place.startswith(("header:", "body:")):
                raise BadSetting(
                    f"{path}: {row.name} has the place {place!r}, "
                    "but a place is header:NAME or body:PATH, with #PATH for JSON inside"
                )
