"""Reads the settings and the tables that they name, and checks what one file says of another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from callerid import files
from callerid.settings.checked import bad_setting, read
from callerid.settings.place import place
from callerid.settings.tables import (
    ClientTable,
    CredentialTable,
    EnvironmentTable,
    PriceTable,
    ProfileTable,
    ProviderTable,
    SecretTable,
    UpstreamRow,
)
from callerid.settings.values import Settings


class Configuration(msgspec.Struct, frozen=True):
    """The settings with the tables that they name."""

    settings: Settings
    clients: ClientTable
    providers: ProviderTable
    profiles: ProfileTable
    credentials: CredentialTable
    secrets: SecretTable
    prices: PriceTable


def load(path: str = "") -> Configuration:
    """Read the settings file at `path` ("" for the defaults) and the tables; raises BadSetting."""
    settings = read(Path(path), Settings) if path else Settings()
    beside = Path(path).parent
    settings = _with_place(settings, beside, path)
    tables = settings.tables
    configuration = Configuration(
        settings,
        read(_table(tables.clients, "clients", beside), ClientTable),
        read(_table(tables.providers, "providers", beside), ProviderTable),
        read(_table(tables.profiles, "profiles", beside), ProfileTable),
        read(_table(tables.credentials, "credentials", beside), CredentialTable),
        read(_table(tables.secrets, "secrets", beside), SecretTable),
        read(_table(tables.prices, "prices", beside), PriceTable),
    )
    _check_profiles(configuration.profiles, _table(tables.profiles, "profiles", beside))
    _check_upstreams(settings.stamp.upstreams, configuration.profiles, path, "stamp.upstreams")
    _check_networks(settings.session.declare_from or (), path)
    _check_ports(settings.routing.upstreams, path)
    _check_clients(configuration.clients, _table(tables.clients, "clients", beside))
    admin = settings.admin
    if not (admin.token or admin.host == "localhost" or _is_loopback(admin.host)):
        raise bad_setting(
            path, f"admin.host = {admin.host!r}, but without admin.token it is an address of "
            'loopback (default "127.0.0.1")',
        )  # fmt: skip
    where = _table(tables.credentials, "credentials", beside)
    for index, row in enumerate(configuration.credentials.renewed):
        _check_pattern(row.pattern, where, f"{row.name}.pattern", f"renewed[{index}].pattern")
    where = _table(tables.secrets, "secrets", beside)
    for index, secret in enumerate(configuration.secrets.secrets):
        _check_pattern(secret.pattern, where, f"{secret.name}.pattern", f"secrets[{index}].pattern")
    return configuration


def environments() -> EnvironmentTable:
    """Which environment variables each known client heeds."""
    return read(files.CONFIG / "environment.yaml", EnvironmentTable)


def _table(name: str, shipped: str, beside: Path) -> Path:
    return beside / Path(name).expanduser() if name else files.CONFIG / f"{shipped}.yaml"


_PLACES = {
    "file": "the path of a file",
    "redis": "a URL as redis://HOST:PORT/DB",
    "postgres": "a URL as postgresql://HOST/DATABASE",
}


def _with_place(settings: Settings, beside: Path, path: str) -> Settings:
    """The settings with the whole path of a file that sessions are kept in."""
    kept = settings.session.persistence
    name, wanted = "session.persistence.connection", _PLACES.get(kept.backend)
    if wanted and not kept.connection:
        raise bad_setting(path, f'{name} = "", but with backend {kept.backend} it is {wanted}')
    if not wanted and kept.connection:
        raise bad_setting(
            path, f'{name} is set, but with backend sqlite it is "": sessions are read from '
            "traces.db (callerid_db says which); backend file takes a file",
        )  # fmt: skip
    if kept.backend != "file":
        return settings
    replace = msgspec.structs.replace
    kept = replace(kept, connection=str(beside / Path(kept.connection).expanduser()))
    return replace(settings, session=replace(settings.session, persistence=kept))


def _check_profiles(table: ProfileTable, path: Path) -> None:
    _check_upstreams(table.upstreams, table, path, "upstreams")
    for name, profile in table.profiles.items():
        parts = [rule.part for rule in profile.set]
        if "parent" in parts and "session" in parts[parts.index("parent") :]:
            raise bad_setting(
                path, f"profiles.{name}.set has the parent before the session, but the session "
                "comes first: LiteLLM takes the first header that ends in -session-id",
            )  # fmt: skip


def _check_upstreams(
    rows: Iterable[UpstreamRow], table: ProfileTable, path: str | Path, name: str
) -> None:
    for index, row in enumerate(rows):
        if row.profile not in table.profiles:
            raise bad_setting(
                path, f"{name}[{index}].profile = {row.profile!r}, but it is one of "
                + ", ".join(table.profiles),
            )  # fmt: skip


def _check_networks(networks: Iterable[str], path: str) -> None:
    for index, network in enumerate(networks):
        try:
            ip_network(network)
        except ValueError as error:
            name = f"session.declare_from[{index}]"
            raise bad_setting(path, f"{name} = {network!r}, but {error}") from None


def _check_ports(urls: Iterable[str], path: str) -> None:
    for index, url in enumerate(urls):
        try:
            urlsplit(url).port  # noqa: B018
        except ValueError as error:
            name = f"routing.upstreams[{index}]"
            raise bad_setting(path, f"{name} = {url!r}, but {str(error).lower()}") from None


def _check_clients(table: ClientTable, path: Path) -> None:
    for index, row in enumerate(table.clients):
        name = f"clients[{index}]"
        _check_pattern(row.user_agent, path, f"{row.name}.user_agent", f"{name}.user_agent")
        for text in row.places():
            try:
                place(text)
            except ValueError as error:
                complaint = f"{row.name} has the place {text!r}, but {error}"
                raise bad_setting(path, complaint, name) from None


def _check_pattern(pattern: str, path: Path, what: str, name: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        complaint = f"{what} = {pattern!r}, but it is a regular expression ({error})"
        raise bad_setting(path, complaint, name) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
