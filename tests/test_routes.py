"""Placement: a session stays where its first call went, for as long as it may."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callerid.dispatch import bindings
from callerid.dispatch.routes import Lease, Routes
from callerid.dispatch.verdict import Refusal, Target, target
from callerid.settings.values import RoutingSettings
from callerid.turn import Because, Identity
from callerid.wire.errors import Trouble

A, B, C = (Target("http", f"gpu-{name}", 8000) for name in "abc")
TTL = 60.0


def routes(**more: Any) -> Routes:
    settings = {"upstreams": [A.url, B.url, C.url], "affinity_ttl_secs": TTL} | more
    return Routes(msgspec.convert(settings, RoutingSettings))


def whose(id: str, parent: str = "", *, is_final: bool = False) -> Identity:
    return Identity(
        id, "agent", parent or id, Because.HISTORY, 1.0, "", parent_session_id=parent,
        is_final=is_final,
    )  # fmt: skip


def call(
    at: Routes, id: str, now: float = 0.0, *, answered: bool = True, status: int = 200, **more: Any
) -> Any:
    """Make a call that ends at once; where it went, or why it did not go."""
    lease = at.place(whose(id, **more), now)
    if isinstance(lease, Refusal):
        return lease
    at.ended(lease, now, status if answered else None)
    return lease.binding.target


def test_new_sessions_go_where_the_fewest_are_and_stay_there() -> None:
    at = routes()
    placed = [call(at, f"s{number}") for number in range(6)]
    again = [call(at, f"s{number}", now=TTL - 1) for number in reversed(range(6))]

    assert sorted(placed) == [A, A, B, B, C, C]
    assert again == placed[::-1]


def test_after_its_idle_time_a_session_is_placed_anew() -> None:
    at = routes()
    assert call(at, "early") == A
    assert call(at, "late", now=TTL) == B
    call(at, "third", now=TTL)

    assert call(at, "early", now=TTL + 0.1) == A  # its own place is the emptiest again
    assert at.bindings.live(A) == 1


def test_idle_time_begins_when_the_last_call_ends() -> None:
    at = routes()
    lease = at.place(whose("long"), 0.0)
    assert isinstance(lease, Lease)
    for number in range(5):
        call(at, f"s{number}", now=10.0)

    during = at.place(whose("long"), 10 * TTL)  # its first call is still under way
    assert isinstance(during, Lease)
    assert during.binding is lease.binding
    at.ended(during, 10 * TTL, 200)
    at.ended(lease, 20 * TTL, 200)
    assert call(at, "long", now=21 * TTL) == lease.binding.target


def test_a_child_may_begin_where_its_parent_is() -> None:
    apart, together = routes(), routes(inherit=True)
    for at in (apart, together):
        call(at, "parent")

    assert call(apart, "child", parent="parent") == B
    assert call(together, "child", parent="parent") == A
    assert call(together, "orphan", parent="unheard of") == B


def test_soft_goes_elsewhere_when_its_upstream_is_gone() -> None:
    at = routes()
    assert call(at, "s") == A
    assert at.found(A, is_well=False)
    assert not at.found(A, is_well=False)  # that is no news

    assert call(at, "s", now=1.0) in (B, C)
    assert at.found(A, is_well=True)
    assert call(at, "s", now=2.0) in (B, C)  # and stays there


def test_hard_asks_for_a_new_session_when_its_upstream_is_gone() -> None:
    at = routes(mode="hard")
    call(at, "s")
    at.found(A, is_well=False)

    refused = call(at, "s", now=1.0)
    assert refused.trouble is Trouble.GONE
    assert "http://gpu-a:8000 is gone; begin a new session with a new id" in refused.message
    assert call(at, "another", now=1.0) in (B, C)

    at.found(A, is_well=True)
    assert call(at, "s", now=2.0) == A


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_a_final_call_is_served_and_then_closes_the_session(mode: str) -> None:
    at = routes(mode=mode)
    call(at, "s")
    assert call(at, "s", now=1.0, is_final=True) == A
    assert at.bindings.live(A) == 0

    after = call(at, "s", now=2.0)
    if mode == "soft":
        assert after == A
    else:
        assert after.trouble is Trouble.GONE
        assert "declared final" in after.message
        assert call(at, "s", now=2.0 + TTL) == A  # nobody remembers it


def test_a_final_call_that_is_not_answered_closes_nothing() -> None:
    at = routes(mode="hard")
    call(at, "s")
    call(at, "s", now=1.0, is_final=True, answered=False)

    assert call(at, "s", now=2.0) == A


@pytest.mark.parametrize("status", [429, 500])
def test_a_final_call_may_be_asked_again_after_an_error(status: int) -> None:
    at = routes(mode="hard")
    call(at, "s")
    call(at, "s", now=1.0, is_final=True, status=status)

    assert call(at, "s", now=2.0, is_final=True) == A
    assert call(at, "s", now=3.0).trouble is Trouble.GONE


def test_a_session_is_bound_when_it_is_answered() -> None:
    at = routes(mode="hard")
    assert call(at, "s", answered=False) == A
    at.found(A, is_well=False)

    assert call(at, "s", now=1.0) == B  # it was never at A


def test_where_nobody_is_well_the_client_is_told_to_come_back() -> None:
    at = routes()
    for each in (A, B, C):
        at.found(each, is_well=False)

    refused = call(at, "s")
    assert refused.trouble is Trouble.UNAVAILABLE
    assert refused.retry_after
    assert all(each.url in refused.message for each in (A, B, C))


def test_bindings_come_back_after_a_restart() -> None:
    at = routes(mode="hard")
    at.restore("s", C.url, 10.0, is_closed=False)
    at.restore("closed", B.url, 20.0, is_closed=True)
    at.restore("old", "http://taken-away:1", 30.0, is_closed=False)

    assert call(at, "s", now=40.0) == C
    assert call(at, "closed", now=40.0).trouble is Trouble.GONE
    assert "taken-away" in call(at, "old", now=40.0).message


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "MOST", 4)
    at = routes()
    for number in range(10):
        call(at, f"s{number}")

    assert len(at.bindings) == 4
    assert sum(map(at.bindings.live, (A, B, C))) == 4


def test_a_lease_that_outlives_its_binding_changes_no_other() -> None:
    at = routes()
    old = at.place(whose("s"), 0.0)
    assert isinstance(old, Lease)
    at.found(A, is_well=False)
    new = call(at, "s", now=1.0)
    old.closes = True
    at.ended(old, 2.0, 200)

    assert call(at, "s", now=3.0) == new
    assert at.bindings.live(A) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.floats(0, 40), st.sampled_from(["ok", "lost", "final", "ill"])
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from(["hard", "soft"]))
def test_live_sessions_are_counted_right_whatever_happens(
    steps: list[tuple[str, float, str]], mode: str
) -> None:
    at, now, under_way = routes(mode=mode), 0.0, []
    for id, passes, what in steps:
        now += passes
        if what == "ill":
            at.found(B, is_well=not at.is_well(B))
            continue
        lease = at.place(whose(id, is_final=what == "final"), now)
        if isinstance(lease, Lease):
            under_way.append((lease, what))
        if len(under_way) > 2:
            oldest, how = under_way.pop(0)
            at.ended(oldest, now, None if how == "lost" else 200)
    for lease, how in under_way:
        at.ended(lease, now, None if how == "lost" else 200)
    at.bindings.get("nobody", now + 2 * TTL)

    assert [at.bindings.live(each) for each in (A, B, C)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://gpu:8000", Target("http", "gpu", 8000)),
        ("https://gpu.example/", Target("https", "gpu.example", 443)),
        ("http://[::1]:9", Target("http", "::1", 9)),
    ],
)
def test_an_upstream_is_named_by_a_url(url: str, found: Target) -> None:
    assert target(url) == found
    assert target(found.url) == found
