"""A YAML file as a checked struct: a mistake is named, with its value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
import yaml
from msgspec import Meta

Shape = TypeVar("Shape", bound=msgspec.Struct)


class BadSetting(ValueError):
    """A setting or table that cannot be used; the message says what, where and what is allowed."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refuses names it does not know: a misspelt setting must not be ignored."""


def read(path: Path, shape: type[Shape]) -> Shape:
    """The struct that a file holds; raises BadSetting."""
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
