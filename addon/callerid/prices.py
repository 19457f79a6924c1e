"""What calls cost: their tokens at the prices of their providers, as far as those are known.

List prices are those of genai-prices (https://github.com/pydantic/genai-prices), whose prices hold
for all tokens of a call beyond a threshold of its input; config/prices.yaml goes before them.
genai-prices takes a third of a second to load, and is loaded when the first price is wanted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import product
from threading import Event
from typing import Any, NamedTuple

import msgspec

from callerid.settings.tables import PriceRow, PriceTable
from callerid.turn import Call, Kind, Reply, Request, Usage

_LOADED = Event()  # whether anybody in this process has loaded the lists
MOST_RATES = (
    1000  # remembered; they are looked up again every minute, since some change by the hour
)

# From so many tokens of input on, US dollars for a million: ((0, 3.0), (200_000, 6.0)).
Steps = tuple[tuple[int, float], ...]
FREE: Steps = ((0, 0.0),)


class Sale(NamedTuple):
    """What was sold, and by whom; `provider` "" is unknown, as a private host is.

    `models` are its names, the one to be asked first first.
    """

    provider: str
    host: str
    path: str
    models: tuple[str, ...]


def used(call: Call, reply: Reply | None) -> Usage:
    """The tokens that a call used; those that it only counted are not used, and cost nothing."""
    counts_only = call.kind is Kind.COUNT_TOKENS
    return Usage() if counts_only or reply is None else reply.usage


def sale(provider: str, request: Request, call: Call, reply: Reply | None) -> Sale:
    """What was sold in a call; the model is known best to the reply."""
    names = (reply.model if reply else "", call.model)
    models = tuple(dict.fromkeys(name for name in names if name))
    return Sale(provider, request.host, request.path.partition("?")[0], models)


class Rate(NamedTuple):
    """What a model costs; None is as its input, or its output."""

    input: Steps
    output: Steps
    cache_read: Steps | None = None
    cache_write: Steps | None = None
    cache_write_1h: Steps | None = None
    reasoning: Steps | None = None
    call: float = 0.0

    def of(self, usage: Usage) -> float | None:
        """What some tokens cost; None where they were not counted."""
        total, out = usage.total_input_tokens, usage.total_output_tokens
        if total is None or (out is None and _at(self.output, total)):
            return None
        read = min(usage.cache_read_input_tokens or 0, total)
        written = min(usage.cache_creation_input_tokens or 0, total - read)
        hour = min(usage.cache_creation_1h_input_tokens or 0, written)
        thought = min(usage.reasoning_tokens or 0, out or 0)
        parts = (
            (total - read - written, self.input),
            (read, self.cache_read or self.input),
            (written - hour, self.cache_write or self.input),
            (hour, self.cache_write_1h or self.cache_write or self.input),
            ((out or 0) - thought, self.output),
            (thought, self.reasoning or self.output),
        )
        return self.call + sum(count * _at(steps, total) for count, steps in parts) / 1_000_000


class Prices:
    """Knows what a call costs; any one thread may ask."""

    def __init__(self, table: PriceTable) -> None:
        self._table = table
        self._stated = {row.provider: row.member for row in table.stated}
        self._rates: dict[Sale, Rate | None] = {}
        self._minute = -1

    def load(self) -> None:
        """Load the lists now."""
        import genai_prices  # noqa: F401

        _LOADED.set()

    @property
    def is_loaded(self) -> bool:
        """Whether a price can be had without waiting: somebody has loaded the lists."""
        return _LOADED.is_set()

    def cost(self, sale: Sale, usage: Usage, at: float) -> float | None:
        """US dollars that a call at a time (seconds since the epoch) cost; None is unknown."""
        stated = self._said_by_provider(sale.provider, usage)
        if stated is not None:
            return stated
        rate = self._rate(sale, at) if usage.total_input_tokens is not None else None
        return rate.of(usage) if rate else None

    def _said_by_provider(self, provider: str, usage: Usage) -> float | None:
        member = self._stated.get(provider)
        if not member or not usage.raw:
            return None
        said = msgspec.json.decode(usage.raw)
        cost = said.get(member) if isinstance(said, dict) else None
        return float(cost) if isinstance(cost, int | float) and cost >= 0 else None

    def _rate(self, sale: Sale, at: float) -> Rate | None:
        minute = int(at // 60)
        if minute != self._minute or len(self._rates) >= MOST_RATES:
            self._rates.clear()
            self._minute = minute
        if sale not in self._rates:
            self._rates[sale] = self._own_rate(sale) or self._list_rate(sale, at)
        return self._rates[sale]

    def _own_rate(self, sale: Sale) -> Rate | None:
        for model in sale.models:
            for row in self._table.models:
                is_there = any(fnmatchcase(sale.host, host) for host in row.hosts or ("*",))
                if is_there and fnmatchcase(model, row.model):
                    return self._with_hour(_rate_of_row(row))
        return None

    def _list_rate(self, sale: Sale, at: float) -> Rate | None:
        from genai_prices import Usage as Tokens
        from genai_prices import calc_price

        _LOADED.set()
        # By its address; by its name. Who is not known may be a gateway, which passes the bill on;
        # but a model whose weights are free may as well run there, at what no list says.
        sellers = (f"https://{sale.host}{sale.path}", "") if sale.provider else ("",)
        models = sale.models if sale.provider else tuple(filter(self._is_closed, sale.models))
        time = datetime.fromtimestamp(at, UTC)
        for model, url in product(models, sellers):
            try:
                if url:
                    found = calc_price(
                        Tokens(), model, provider_api_url=url, genai_request_timestamp=time
                    )
                else:
                    name = sale.provider or None
                    found = calc_price(
                        Tokens(), model, provider_id=name, genai_request_timestamp=time
                    )
            except (LookupError, ValueError):
                continue
            return self._with_hour(_rate_of(found.model_price))
        return None

    def _is_closed(self, model: str) -> bool:
        return any(fnmatchcase(model.lower(), pattern) for pattern in self._table.closed.models)

    def _with_hour(self, rate: Rate) -> Rate:
        if rate.cache_write_1h or not rate.cache_write:
            return rate
        times = self._table.hour.times_input
        return rate._replace(
            cache_write_1h=tuple((start, price * times) for start, price in rate.input)
        )


def _rate_of(prices: object) -> Rate:
    def steps(name: str) -> Steps | None:
        return _steps(getattr(prices, name, None))

    call = getattr(prices, "requests_kcount", None)
    return Rate(
        input=steps("input_mtok") or FREE,
        output=steps("output_mtok") or FREE,
        cache_read=steps("cache_read_mtok"),
        cache_write=steps("cache_write_mtok"),
        cache_write_1h=steps("cache_write_1h_mtok"),
        reasoning=steps("output_reasoning_mtok"),
        call=float(call) / 1000 if call is not None else 0.0,
    )


def _steps(price: Any) -> Steps | None:
    """A price of genai-prices, or one in tiers: each holds beyond its start."""
    if price is None:
        return None
    base, tiers = getattr(price, "base", price), getattr(price, "tiers", ())
    return ((0, float(base)), *((tier.start, float(tier.price)) for tier in tiers))


def _rate_of_row(row: PriceRow) -> Rate:
    def steps(price: float | None) -> Steps | None:
        return None if price is None else ((0, price),)

    return Rate(
        ((0, row.input),), ((0, row.output),), steps(row.cache_read), steps(row.cache_write),
        steps(row.cache_write_1h), call=row.call,
    )  # fmt: skip


def _at(steps: Steps, total: int) -> float:
    """The price where the input is so many tokens."""
    return next((price for start, price in reversed(steps) if total > start), steps[0][1])
