"""A YAML file as a checked struct: a mistake is named, with its value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

Shape = TypeVar("Shape", bound=msgspec.Struct)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built so


class BadSetting(ValueError):
    """A setting or table that cannot be used; the message says what, where and what is allowed."""


Port = Annotated[int, Meta(ge=1, le=65535, description="a port, 1 to 65535")]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refuses names it does not know: a misspelt setting must not be ignored."""


def read(path: Path, shape: type[Shape]) -> Shape:
    """The struct that a file holds; raises BadSetting."""
    try:
        value = yaml.load(path.read_text("utf-8"), _Loader)
    except FileNotFoundError:
        raise BadSetting(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: cannot be read: {error}") from None
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # the last two: of odd dates, depth
        raise BadSetting(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    try:
        return msgspec.convert(value if value is not None else {}, shape)
    except msgspec.ValidationError as error:
        name, complaint = _explain(str(error), value, shape)
        raise bad_setting(path, complaint, name) from None


def bad_setting(path: str | Path, complaint: str, name: str = "") -> BadSetting:
    """A complaint of something in a file (`a.b[0]`; else its first word), with file and line."""
    line = _line(Path(path), name or complaint.partition(" ")[0])
    return BadSetting(f"{path}: {complaint}" + (f" (line {line})" if line else ""))


def _line(path: Path, name: str) -> int:
    """The line in which a setting stands, or what there is of its name; 0 where nothing is."""
    try:
        node = yaml.compose(path.read_text("utf-8"), _Loader)
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return 0
    line = 0
    for member, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", name):
        node, at = _below(node, member or int(index))
        if node is None:
            break
        line = at + 1
    return line


def _below(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node | None, int]:
    """A member or an item, and in which line it begins, from 0 on; None where there is none."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        found = node.value[key : key + 1]
        return (found[0], found[0].start_mark.line) if found else (None, 0)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value, name.start_mark.line
    return None, 0


class _Spot(NamedTuple):
    """A place in a file: its name, what stands there, and what should."""

    name: str
    value: object
    type: object
    default: object = msgspec.NODEFAULT


def _explain(complaint: str, value: object, shape: type[msgspec.Struct]) -> tuple[str, str]:
    """What msgspec complains of, and a sentence with its name, value, meaning and default."""
    what, _, where = complaint.rpartition(" - at `$")
    if not what:
        what, where = complaint, ""
    spot = _spot(where, value, shape)
    if unknown := re.search(r"unknown field `(.+)`", what):
        known = ", ".join(_fields(spot.type))
        name = f"{spot.name}.{unknown[1]}".lstrip(".")
        return name, f"{name} is not a setting; there are {known}"
    if not spot.name or "missing required" in what:
        return spot.name, f"{spot.name or 'the file'}: {what}"
    meaning = _meaning(spot.type)
    if not meaning:
        return spot.name, f"{spot.name} = {_shown(spot.value)}, but {what}"
    default = "" if spot.default is msgspec.NODEFAULT else f" (default {_shown(spot.default)})"
    return spot.name, f"{spot.name} = {_shown(spot.value)}, but it is {meaning}{default}"


def _meaning(shape: object) -> str:
    """What a value should be, in words; "" where its type does not say."""
    if get_origin(shape) is Literal:
        return "one of " + ", ".join(map(str, get_args(shape)))
    return next((meta.description for meta in _metas(shape) if meta.description), "")


def _shown(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):  # what YAML can say and JSON cannot
        return " ".join(str(value).split())


def _spot(where: str, value: object, shape: object) -> _Spot:
    """The place that msgspec means by `.a[0].b[...]`; [...] is some entry of a mapping."""
    spot = _Spot("", value, shape)
    for field, entry in re.findall(r"\.([\w-]+)|\[(\d+|\.\.\.)\]", where):
        spot = _field(spot, field) if field else _entry(spot, entry)
    return spot


def _field(spot: _Spot, name: str) -> _Spot:
    full = f"{spot.name}.{name}".lstrip(".")
    value = spot.value.get(name) if isinstance(spot.value, dict) else None
    field = _fields(spot.type).get(name)
    return _Spot(full, value, field.type, field.default) if field else _Spot(full, value, object)


def _entry(spot: _Spot, index: str) -> _Spot:
    inner = _plain(spot.type)
    if index.isdigit():
        values = spot.value if isinstance(spot.value, list) else []
        return _Spot(f"{spot.name}[{index}]", values[int(index)], (get_args(inner) or [object])[0])
    inner = (get_args(inner) or [object])[-1]
    entries = spot.value.items() if isinstance(spot.value, dict) else ()
    name, value = next((pair for pair in entries if not _fits(pair[1], inner)), ("?", None))
    return _Spot(f"{spot.name}.{name}", value, inner)


def _fits(value: object, shape: object) -> bool:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return False
    return True


def _plain(type: object) -> object:
    return get_args(type)[0] if _metas(type) else type


def _metas(type: object) -> list[Meta]:
    return [meta for meta in getattr(type, "__metadata__", ()) if isinstance(meta, Meta)]


def _fields(shape: object) -> dict[str, msgspec.structs.FieldInfo]:
    shape = _plain(shape)
    if not (isinstance(shape, type) and issubclass(shape, msgspec.Struct)):
        return {}
    return {field.encode_name: field for field in msgspec.structs.fields(shape)}
