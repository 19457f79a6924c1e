"""Figures and texts as the pages show them; what strangers wrote can hide nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from callerid import figures
from callerid.archive.sessions import Cost

UNKNOWN = "–"
MOST = 20_000  # characters of a text on a page; the rest has a page of its own
_IDS = re.compile(r"\b(?:sess|call)_[0-9a-f]{24,}")
_ID = re.compile(r"^((?:sess|call|agent)_).*(.{8})$")
# Control characters have pictures of their own; what turns the direction of writing is named.
_PICTURES = {at: 0x2400 + at for at in range(32) if chr(at) not in "\t\n"} | {0x7F: 0x2421}
_SEEN: dict[int, int | str] = {
    **_PICTURES,
    **{at: f"‹U+{at:04X}›" for at in (*range(0x80, 0xA0), *range(0x202A, 0x202F))},
    **{at: f"‹U+{at:04X}›" for at in range(0x2066, 0x206A)},
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FENCE = re.compile(r"^(?:```|~~~)[^\n]*$", re.MULTILINE)


def seen(text: object) -> str:
    """A text in which everything can be seen: control characters as pictures of them."""
    return str(text).replace("\r\n", "\n").translate(_SEEN)


def segments(text: str) -> Iterator[tuple[bool, str]]:
    """A text, cut where code begins and ends in it: whether it is code, and the words."""
    at, is_code = 0, False
    for fence in _FENCE.finditer(text):
        if piece := text[at : fence.start()].strip("\n"):
            yield is_code, piece
        at, is_code = fence.end(), not is_code
    if piece := text[at:].strip("\n"):
        yield is_code, piece


duration = partial(figures.duration, unknown=UNKNOWN)
dollars = partial(figures.dollars, unknown=UNKNOWN)
brief = partial(figures.brief, unknown=UNKNOWN)
about = figures.about


def cost(found: Cost) -> str:
    """What calls cost together; a + where the price of some is not known."""
    if not found.priced:
        return UNKNOWN
    return dollars(found.usd) + (" +" if found.unpriced else "")


def count(number: float | None) -> str:
    """A number, every digit of it."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def plural(number: int | None, noun: str) -> str:
    """So many of something."""
    return f"{number or 0:,} {noun}{'' if number == 1 else 's'}"


def share(part: float | None, whole: float | None) -> str:
    """So many of a hundred."""
    return f"{100 * part / whole:.0f} %" if part is not None and whole else UNKNOWN


def clock(at: float | None) -> str:
    """The time of day."""
    return UNKNOWN if at is None else datetime.fromtimestamp(at).strftime("%H:%M:%S")


def moment(at: float | None) -> str:
    """Day and time."""
    return UNKNOWN if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def ago(at: float, now: float) -> str:
    """How long ago."""
    said = about(now - at)
    return f"{said} ago" if said else "just now"


def after(seconds: float) -> str:
    """How long after the beginning, as a clock that was started then says it."""
    if seconds < 1 and seconds:
        return f"{seconds * 1000:.0f} ms"
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{left:02.0f}" if hours else f"{minutes}:{left:02.0f}"


def short_id(id: str) -> str:
    """An id that we made, by its end, where such ids differ; strangers' as they are."""
    return _ID.sub(r"\1…\2", id) if len(id) > 24 else id


def short_ids(text: str) -> str:
    """A text in which the ids that we made are short."""
    return _IDS.sub(lambda found: short_id(found[0]), text)


def shell(text: object) -> str:
    """A word of a command, quoted for the shell; it holds no control character."""
    return shlex.quote(_CONTROL.sub("", str(text)))


def cut(text: str, most: int = MOST) -> str:
    """The beginning of a text."""
    return text if len(text) <= most else text[:most]


FILTERS: dict[str, Callable[..., object]] = {
    "seen": seen, "segments": segments, "duration": duration, "dollars": dollars, "cost": cost,
    "count": count, "brief": brief, "plural": plural, "clock": clock, "moment": moment,
    "short_id": short_id, "cut": cut, "share": share, "short_ids": short_ids,
    "shell": shell,
}  # fmt: skip
