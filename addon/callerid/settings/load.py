"""Reads the settings and the tables that they name, and checks what one file says of another."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from callerid import files
from callerid.settings.checked import BadSetting, read
from callerid.settings.place import place
from callerid.settings.tables import ClientTable, EnvironmentTable, ProfileTable, ProviderTable
from callerid.settings.values import Settings


class Configuration(msgspec.Struct, frozen=True):
    """The settings with the tables that they name."""

    settings: Settings
    clients: ClientTable
    providers: ProviderTable
    profiles: ProfileTable


def load(path: str = "") -> Configuration:
    """Read the settings file at `path` ("" for the defaults) and the tables; raises BadSetting."""
    settings = read(Path(path), Settings) if path else Settings()
    beside = Path(path).parent
    tables = settings.tables
    configuration = Configuration(
        settings,
        read(_table(tables.clients, "clients", beside), ClientTable),
        read(_table(tables.providers, "providers", beside), ProviderTable),
        read(_table(tables.profiles, "profiles", beside), ProfileTable),
    )
    _check_profiles(configuration.profiles, _table(tables.profiles, "profiles", beside))
    _check_clients(configuration.clients, _table(tables.clients, "clients", beside))
    return configuration


def environments() -> EnvironmentTable:
    """Which environment variables each known client heeds."""
    return read(files.CONFIG / "environment.yaml", EnvironmentTable)


def _table(name: str, shipped: str, beside: Path) -> Path:
    return beside / Path(name).expanduser() if name else files.CONFIG / f"{shipped}.yaml"


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
        for text in row.places():
            try:
                place(text)
            except ValueError as error:
                raise BadSetting(
                    f"{path}: {row.name} has the place {text!r}, but {error}"
                ) from None
