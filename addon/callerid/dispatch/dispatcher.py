"""The dispatcher: may a call go, and where to; and what is to be counted when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from callerid.dispatch.beside import Beside
from callerid.dispatch.budgets import Budgets, Used
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

    `beside` is where `afford` and `spend` are to be called, as they may have to wait for a storage
    that is shared; None where they never do. `long_id` finds the header of a request in which an id
    is declared that is too long to be one.
    """

    def __init__(self, budgets: Budgets, routes: Routes, long_id: Callable[[Request], str]) -> None:
        self.routes = routes
        self.beside = Beside() if budgets.is_shared else None
        self._budgets = budgets
        self._long_id = long_id

    @property
    def deadline(self) -> float:
        """How long a call may wait for its budget (seconds)."""
        return self._budgets.deadline

    @property
    def blocks(self) -> bool:
        """Whether a call beyond its budget stays here."""
        return self._budgets.blocks

    def afford(self, identity: Identity, scope: str, now: float) -> Refusal | None:
        """Whether a call of a customer is beyond a budget; if it goes out, it is counted.

        Raises StorageError.
        """
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

    def ended(self, placed: Placed, now: float, status: int | None, *, is_lost: bool) -> str:
        """Give a place back; `is_lost`: its upstream could not be reached, or went away.

        In words, what that told of the upstream, where it is news.
        """
        if placed.lease is None or placed.target is None:
            return ""
        self.routes.ended(placed.lease, now, status)
        if is_lost and self.routes.found(placed.target, is_well=False):
            return f"{placed.target.url} did not answer, and gets no calls until it does"
        return ""

    def used(
        self, provider: str, request: Request, call: Call, reply: Reply | None, at: float
    ) -> Used | None:
        """What a call used that began at a time; None where there is no budget."""
        if not self._budgets.is_on:
            return None
        return self._budgets.used_in(call, reply, sale(provider, request, call, reply), at)

    def spend(self, identity: Identity, scope: str, used: Used) -> None:
        """Count what a call used; raises StorageError."""
        self._budgets.spend(identity, scope, used)

    def close(self) -> None:
        """Stop what runs beside the loop."""
        if self.beside is not None:
            self.beside.close()

    def upstreams(self) -> Mapping[str, tuple[bool, int]]:
        """Each upstream with whether it is well, and how many live sessions it has."""
        routes = self.routes
        return {
            target.url: (routes.is_well(target), routes.bindings.live(target))
            for target in routes.targets
        }
