"""What a call will cost, as far as the record and the prices say, and what it has cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from callerid.again.rebuild import Prepared
from callerid.archive.calls import CallFacts
from callerid.prices import Prices, Sale
from callerid.turn import Reply, Usage

LETTERS = 4  # of a token, about: of English prose with the tokenizers of today


class Estimate(NamedTuple):
    """Tokens and US dollars; None is unknown."""

    input_tokens: int | None
    output_tokens: int | None
    usd: float | None


def before(
    prices: Prices, prepared: Prepared, provider: str, given: int | None, taken: int | None,
    now: float,
) -> Estimate:  # fmt: skip
    """What a call will cost with so many tokens, nothing of it from a cache."""
    usage = Usage(input_tokens=given, output_tokens=taken)
    price = prices.cost(_sale(prepared, provider, ""), usage, now) if given is not None else None
    return Estimate(given, taken, price if taken is not None else None)


def after(prices: Prices, prepared: Prepared, provider: str, reply: Reply, now: float) -> Estimate:
    """What a call has cost."""
    usage = reply.usage
    price = prices.cost(_sale(prepared, provider, reply.model), usage, now)
    return Estimate(usage.total_input_tokens, usage.total_output_tokens, price)


def grown(facts: CallFacts, more: str, body_bytes: int) -> int | None:
    """The tokens that go in when a call, or a part of it, is followed by some words.

    A body that is shorter than the call's keeps a part of what was said: it has that part of the
    tokens, about. Else the reply goes along.
    """
    if facts.input_tokens is None:
        return None
    if facts.request_bytes and body_bytes < facts.request_bytes:
        return round(facts.input_tokens * body_bytes / facts.request_bytes)
    return facts.input_tokens + (facts.output_tokens or 0) + len(more) // LETTERS + 1


def usual(calls: Iterable[CallFacts]) -> int | None:
    """How many tokens come out of a session's calls, on the average."""
    counts = [call.output_tokens for call in calls if call.output_tokens is not None]
    return round(sum(counts) / len(counts)) if counts else None


def total(found: Iterable[Estimate]) -> Estimate:
    """Several calls together; one that is unknown makes the sum so."""
    all_of_them = list(found)

    def summed(values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    prices = [each.usd for each in all_of_them]
    known = [price for price in prices if price is not None]
    return Estimate(
        summed([each.input_tokens for each in all_of_them]),
        summed([each.output_tokens for each in all_of_them]),
        sum(known) if len(known) == len(prices) else None,
    )


def _sale(prepared: Prepared, provider: str, answered: str) -> Sale:
    models = tuple(dict.fromkeys(name for name in (answered, prepared.model) if name))
    path = urlsplit(prepared.url).path
    return Sale(provider, prepared.facts.host, path, models)
