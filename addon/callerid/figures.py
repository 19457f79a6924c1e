"""Figures as people read them, wherever they are shown: times, prices, counts."""

from __future__ import annotations

SHORT_FROM = 10_000  # below, every digit is told

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float | None, unknown: str = "") -> str:
    """A time in words, to about three digits."""
    if seconds is None:
        return unknown
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {left:02} s"


def about(seconds: float) -> str:
    """A time in its largest unit; "" is less than a second."""
    return next((f"{seconds // size:.0f} {name}" for size, name in _UNITS if seconds >= size), "")


def dollars(usd: float | None, unknown: str = "") -> str:
    """A price in US dollars: cents from one dollar on, hundredths of them below."""
    if usd is None:
        return unknown
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def brief(number: float | None, unknown: str = "", short_from: float = SHORT_FROM) -> str:
    """A number, as short as it can be read."""
    if number is None:
        return unknown
    for least, size, sign in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (short_from, 1e3, "k")):
        if number >= least:
            share = number / size
            return f"{share:.0f}{sign}" if share >= 100 else f"{share:.1f}{sign}"
    return f"{number:,.0f}"


def plural(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
