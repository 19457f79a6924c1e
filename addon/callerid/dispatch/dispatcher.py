"""The dispatcher: may a call go, and where to; and what is to be counted when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from callerid.dispatch.budgets import Budgets
from callerid.dispatch.routes import Lease, Routes
from callerid.dispatch.verdict import Refusal, Target
from callerid.prices import sale
from callerid.turn import Call, Identity, Reply, Request
from callerid.wire.errors import Trouble

MAX_ID_BYTES = 256  # Dynamo's bound (MAX_SESSION_AFFINITY_ID_BYTES), with the same answer: 400


class Placed(NamedTuple):
    """Where a call goes, and the lease of its session's place; None is where its client sent it."""

    target: Target | None = None
    lease: Lease | None = None


class Dispatcher:
    """Budgets and routes together; either may be switched off.

    `long_id` finds the header of a request in which an id is declared that is too long to be one.
    """

    def __init__(self, budgets: Budgets, routes: Routes, long_id: Callable[[Request], str]) -> None:
        self.routes = routes
        self._budgets = budgets
        self._long_id = long_id

    @property
    def may_wait(self) -> bool:
        """Whether `afford` may have to wait for a storage that is shared."""
        return self._budgets.is_shared

    @property
    def blocks(self) -> bool:
        """Whether a call beyond its budget stays here."""
        return self._budgets.blocks

    def afford(self, identity: Identity, scope: str, now: float) -> Refusal | None:
        """Whether a call of a customer is beyond a budget; if it goes out, it is counted."""
        if not self._budgets.is_on:
            return None
        refusal = self._budgets.check(identity, scope, now)
        if refusal is not None and not self.blocks:
            self._budgets.count(identity, scope)
        return refusal

    def place(self, identity: Identity, request: Request, now: float) -> Placed | Refusal:
        """Where a call goes; its place is taken until `ended`."""
        if not self.routes.targets:
            return Placed()
        if header := self._long_id(request):
            return Refusal(
                Trouble.BAD_REQUEST,
                f"the id in {header} is longer than {MAX_ID_BYTES} bytes, and names no session",
            )
        lease = self.routes.place(identity, now)
        return lease if isinstance(lease, Refusal) else Placed(lease.binding.target, lease)

    def ended(self, placed: Placed, now: float, *, is_answered: bool) -> str:
        """Give a place back; in words, what it told of its upstream, where that is news."""
        if placed.lease is None or placed.target is None:
            return ""
        self.routes.ended(placed.lease, now, is_answered=is_answered)
        if not is_answered and self.routes.found(placed.target, is_well=False):
            return f"{placed.target.url} did not answer, and gets no calls until it does"
        return ""

    def spend(
        self, identity: Identity, provider: str, request: Request, call: Call, reply: Reply | None,
        at: float,
    ) -> None:  # fmt: skip
        """Count what a call used that began at a time; may have to wait as `afford` may."""
        if self._budgets.is_on:
            sold = sale(provider, request, call, reply)
            self._budgets.spend(identity, request.client.scope, call, reply, sold, at)

    def upstreams(self) -> Mapping[str, tuple[bool, int]]:
        """Each upstream with whether it is well, and how many live sessions it has."""
        routes = self.routes
        return {
            target.url: (routes.is_well(target), routes.bindings.live(target))
            for target in routes.targets
        }
