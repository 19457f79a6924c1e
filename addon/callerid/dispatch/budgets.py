"""Budgets: how much a session, an agent or a whole run may use, counted by the library `limits`.

Calls are counted when they begin, tokens and dollars when they end: what is under way is not yet
counted. With a shared storage all but `used_in` may wait for it, and raise StorageError.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, StorageTypes, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from callerid.dispatch.verdict import Refusal
from callerid.prices import Prices, Sale, used
from callerid.settings.values import Budget, RateLimitingSettings
from callerid.turn import Call, Identity, Reply
from callerid.wire.errors import Trouble

__all__ = ["Budgets", "StorageError"]

MICRO = 1_000_000  # dollars are counted in millionths, as whole numbers
STEP_SECONDS = 1.0  # by which somebody has set the clock, and not only its drift
USD_DAYS = 30  # for so long what was spent is remembered


class Spender(NamedTuple):
    """Somebody with a budget: a session, an agent of one customer, a run."""

    kind: str
    key: str
    name: str


class Used(NamedTuple):
    """What a call used, in millionths of a dollar too."""

    tokens: int
    micro_usd: int


class _Limit(NamedTuple):
    """One figure of a budget, and what counts it."""

    spender: Spender
    words: str
    item: RateLimitItem
    limiter: RateLimiter
    unit: str  # calls, tokens, usd


class Budgets:
    """Counts what is used, and says who has used too much.

    Raises ValueError for a storage that cannot be used.
    """

    def __init__(self, settings: RateLimitingSettings, prices: Prices) -> None:
        self._budgets = {
            "session": settings.per_session,
            "agent": settings.per_agent,
            "root": settings.per_root,
        }
        self.blocks = settings.action == "block"
        self.deadline = settings.deadline_seconds
        self.is_on = any(budget != Budget() for budget in self._budgets.values())
        self.is_shared = self.is_on and not settings.storage.startswith("memory:")
        self._counts_usd = any(budget.usd is not None for budget in self._budgets.values())
        self._prices = prices
        if self._counts_usd:
            prices.load()
        self._storage: Storage | None = None
        if self.is_on:
            storage = self._storage = _storage(settings)
            self._clock = time.time() - time.monotonic()
            # Calls by the moment of each; tokens and dollars, which come by the thousand, by sums.
            self._moving = MovingWindowRateLimiter(storage)
            self._fixed = FixedWindowRateLimiter(storage)

    def check(self, identity: Identity, scope: str, now: float) -> Refusal | None:
        """Whether a call of a customer is beyond a budget; if not, it is counted.

        The oldest excess is told first; nothing is counted of a call that is refused.
        """
        self._mind_the_clock()
        limits = list(self._limits(identity, scope))
        for limit in limits:
            if not limit.limiter.test(limit.item, limit.spender.key):
                return _refusal(limit, now)
        for limit in limits:
            if limit.unit == "calls" and not limit.limiter.hit(limit.item, limit.spender.key):
                return _refusal(limit, now)  # somebody was quicker who shares the storage
        return None

    def count(self, identity: Identity, scope: str) -> None:
        """Count a call that goes out though it is beyond a budget."""
        for limit in self._limits(identity, scope):
            if limit.unit == "calls":
                limit.limiter.hit(limit.item, limit.spender.key)

    def used_in(self, call: Call, reply: Reply | None, sale: Sale, at: float) -> Used:
        """What a call used that began at a time and has ended."""
        usage = used(call, reply)
        tokens = (usage.total_input_tokens or 0) + (usage.total_output_tokens or 0)
        cost = self._prices.cost(sale, usage, at) if self._counts_usd else None
        return Used(tokens, round((cost or 0.0) * MICRO))

    def spend(self, identity: Identity, scope: str, used: Used) -> None:
        """Count what a call used."""
        amounts = {"tokens": used.tokens, "usd": used.micro_usd}
        for limit in self._limits(identity, scope):
            if amount := amounts.get(limit.unit, 0):
                limit.limiter.hit(limit.item, limit.spender.key, cost=amount)

    def _mind_the_clock(self) -> None:
        """Where the clock was set, move what is counted along: an hour stays an hour.

        Our own storage goes by the clock of the day: a budget would be shut for as long as that was
        set back, or open at once. A shared one has the clock of its server, in part.
        """
        if not isinstance(self._storage, MemoryStorage):
            return
        step = time.time() - time.monotonic() - self._clock
        if abs(step) < STEP_SECONDS:
            return
        self._clock += step
        ends = self._storage.expirations
        for key in list(ends):
            ends[key] += step
        for calls in list(self._storage.events.values()):
            for call in calls:
                call.atime += step
                call.expiry += step

    def _limits(self, identity: Identity, scope: str) -> Iterator[_Limit]:
        ids = {
            "session": identity.session_id,
            "agent": f"{scope}/{identity.agent_id}",
            "root": identity.root_session_id,
        }
        names = {"agent": identity.agent_name or identity.agent_id}
        for kind, budget in self._budgets.items():
            spender = Spender(kind, f"{kind}/{ids[kind]}", names.get(kind, ids[kind]))
            if calls := budget.requests_per_minute:
                words = f"{calls} requests a minute"
                item: RateLimitItem = RateLimitItemPerMinute(calls)
                yield _Limit(spender, words, item, self._moving, "calls")
            if tokens := budget.tokens_per_hour:
                words = f"{tokens} tokens an hour"
                item = RateLimitItemPerHour(tokens, namespace="TOKENS")
                yield _Limit(spender, words, item, self._fixed, "tokens")
            if usd := budget.usd:
                item = RateLimitItemPerDay(math.ceil(usd * MICRO), USD_DAYS, namespace="USD")
                yield _Limit(spender, f"{usd:g} US dollars", item, self._fixed, "usd")


def _storage(settings: RateLimitingSettings) -> Storage:
    """The storage, which is asked once and not for long; raises ValueError."""
    options: dict[str, Any] = {}
    try:
        if settings.storage.startswith("redis"):
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            seconds = settings.deadline_seconds
            options = {
                "socket_timeout": seconds,
                "socket_connect_timeout": seconds,
                "retry": Retry(NoBackoff(), 0),  # redis-py sleeps for seconds between its own
                "wrap_exceptions": True,
            }
        found: StorageTypes = storage_from_string(settings.storage, **options)
    except ImportError:
        raise ValueError("redis is not installed: pip install 'callerid[redis]'") from None
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    assert isinstance(found, Storage)
    return found


def _refusal(limit: _Limit, now: float) -> Refusal:
    resets = limit.limiter.get_window_stats(limit.item, limit.spender.key).reset_time
    seconds = max(1, math.ceil(resets - now))
    spender = limit.spender
    return Refusal(
        Trouble.LIMIT,
        f"the {spender.kind} {spender.name} has used its {limit.words}; "
        f"again in {seconds} s (callerid: rate_limiting.per_{spender.kind})",
        seconds,
    )
