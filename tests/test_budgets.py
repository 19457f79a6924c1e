"""Budgets: who has used up his own is told so, and when he may come again."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from callerid.dispatch.budgets import Budgets
from callerid.prices import Prices, Sale
from callerid.settings.load import load
from callerid.settings.values import RateLimitingSettings
from callerid.turn import Because, Call, Dialect, Identity, Kind, Reply, Usage

CALL = Call(Dialect.OPENAI_CHAT, "gpt-4o-mini", False, "", (), ())
SALE = Sale("openai", "api.openai.com", "/v1/chat/completions", ("gpt-4o-mini",))


def budgets(**settings: Any) -> Budgets:
    return Budgets(msgspec.convert(settings, RateLimitingSettings), Prices(load().prices))


def whose(session: str, agent: str = "agent_1", root: str = "") -> Identity:
    return Identity(session, agent, root or session, Because.HISTORY, 1.0, "", agent_name="clerk")


def calls(at: Budgets, count: int, identity: Identity, scope: str = "alice") -> list[bool]:
    """Whether each of some calls may go."""
    return [at.check(identity, scope, time.time()) is None for _ in range(count)]


def spend(at: Budgets, identity: Identity, tokens: int, scope: str = "alice") -> None:
    reply = Reply(usage=Usage(tokens - 1, 1))
    at.spend(identity, scope, at.used_in(CALL, reply, SALE, time.time()))


def test_without_a_budget_nothing_is_counted() -> None:
    at = budgets()

    assert not at.is_on
    assert all(calls(at, 100, whose("s")))


def test_so_many_calls_a_minute_and_no_more() -> None:
    at = budgets(per_session={"requests_per_minute": 3})

    assert calls(at, 5, whose("s")) == [True, True, True, False, False]
    assert calls(at, 1, whose("another")) == [True]
    refused = at.check(whose("s"), "alice", time.time())
    assert refused is not None
    assert 1 <= refused.retry_after <= 60  # type: ignore[operator]
    assert "the session s has used its 3 requests a minute" in refused.message


def test_tokens_are_counted_when_a_call_ends() -> None:
    at = budgets(per_session={"tokens_per_hour": 100})

    assert calls(at, 1, whose("s")) == [True]
    spend(at, whose("s"), 99)
    assert calls(at, 1, whose("s")) == [True]
    spend(at, whose("s"), 500)
    refused = at.check(whose("s"), "alice", time.time())
    assert refused is not None
    assert 3000 < refused.retry_after <= 3600  # type: ignore[operator]


def test_dollars_are_counted_at_list_prices() -> None:
    at = budgets(per_session={"usd": 0.01})
    spend(at, whose("s"), 50_000)  # 0.0075 $
    assert calls(at, 1, whose("s")) == [True]

    spend(at, whose("s"), 50_000)
    refused = at.check(whose("s"), "alice", time.time())
    assert refused is not None
    assert "0.01 US dollars" in refused.message


def test_a_whole_run_has_one_budget() -> None:
    at = budgets(per_root={"requests_per_minute": 3})

    assert calls(at, 2, whose("lead")) == [True, True]
    assert calls(at, 2, whose("helper", "agent_2", root="lead")) == [True, False]


def test_an_agent_has_one_budget_with_each_customer() -> None:
    at = budgets(per_agent={"requests_per_minute": 2})

    assert calls(at, 1, whose("s1")) + calls(at, 2, whose("s2")) == [True, True, False]
    assert calls(at, 1, whose("s3"), "bob") == [True]
    refused = at.check(whose("s4"), "alice", time.time())
    assert refused is not None
    assert "the agent clerk" in refused.message


def test_a_refused_call_uses_nothing_of_another_budget() -> None:
    at = budgets(per_session={"requests_per_minute": 1}, per_root={"requests_per_minute": 3})

    assert calls(at, 3, whose("s", root="run")) == [True, False, False]
    assert calls(at, 1, whose("s2", root="run")) == [True]
    assert calls(at, 1, whose("s3", root="run")) == [True]
    assert calls(at, 1, whose("s4", root="run")) == [False]


def test_tokens_that_were_only_counted_are_not_used() -> None:
    at = budgets(per_session={"tokens_per_hour": 10})
    counting = msgspec.structs.replace(CALL, kind=Kind.COUNT_TOKENS)
    used = at.used_in(counting, Reply(usage=Usage(5000)), SALE, time.time())
    at.spend(whose("s"), "", used)

    assert calls(at, 1, whose("s")) == [True]


@pytest.mark.parametrize("reply", [None, Reply()])
def test_what_was_not_counted_is_not_spent(reply: Reply | None) -> None:
    at = budgets(per_session={"tokens_per_hour": 10, "usd": 1})
    at.spend(whose("s"), "", at.used_in(CALL, reply, SALE, time.time()))

    assert calls(at, 1, whose("s")) == [True]
