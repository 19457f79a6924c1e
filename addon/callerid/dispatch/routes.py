"""Sends each session to one upstream: the one with the fewest live sessions, and then always there.

The contract of `hard` is that of Dynamo's session ids: a binding never changes, and after its close
or the loss of its upstream a client shall begin a new session. `soft` binds anew, as Dynamo 1.6.1
does. Time comes in as an argument.
"""

from __future__ import annotations

from callerid.dispatch.bindings import Binding, Bindings
from callerid.dispatch.verdict import Refusal, Target, target
from callerid.settings.values import RoutingSettings
from callerid.turn import Identity
from callerid.wire.errors import Trouble

RETRY_SECONDS = 5  # after which a client may ask again where no upstream is well


class Lease:
    """A call on its way: its session's place is not idle until it has ended."""

    __slots__ = ("binding", "closes")

    def __init__(self, binding: Binding, *, closes: bool) -> None:
        self.binding = binding
        self.closes = closes


class Routes:
    """The upstreams, which of them are well, and which session is bound to which."""

    def __init__(self, settings: RoutingSettings) -> None:
        self.targets = tuple(target(url) for url in settings.upstreams)
        self._settings = settings
        self._is_hard = settings.mode == "hard"
        self._ill: set[Target] = set()
        self.bindings = Bindings(settings.affinity_ttl_secs)

    def is_well(self, target: Target) -> bool:
        """Whether an upstream gets calls."""
        return target in self.targets and target not in self._ill

    def found(self, target: Target, *, is_well: bool) -> bool:
        """Take what was found of an upstream; whether that is news."""
        is_news = is_well == (target in self._ill)
        if is_well:
            self._ill.discard(target)
        else:
            self._ill.add(target)
        return is_news

    def place(self, identity: Identity, now: float) -> Lease | Refusal:
        """The place of a call's session, taken until the call ends."""
        id = identity.session_id
        binding = self.bindings.get(id, now)
        if binding is not None and self._is_hard:
            if binding.is_closed:
                return _ask_for_new(id, "its last call was declared final")
            if not self.is_well(binding.target):
                return _ask_for_new(id, f"its upstream {binding.target.url} is gone")
        if binding is None or binding.is_closed or not self.is_well(binding.target):
            chosen = self._inherited(identity, now) or self._emptiest()
            if chosen is None:
                return _nobody_well(self.targets)
            binding = self.bindings.bind(id, chosen, now)
        binding.in_flight += 1
        return Lease(binding, closes=identity.is_final)

    def ended(self, lease: Lease, now: float, status: int | None) -> None:
        """Give a place back; it is kept where the upstream has answered at least once.

        A last call that was answered with an error may be asked again, and closes nothing.
        """
        binding = lease.binding
        binding.in_flight -= 1
        binding.is_proven |= status is not None
        if not binding.is_proven and not binding.in_flight:
            self.bindings.drop(binding)
            return
        self.bindings.heard(binding, now)
        if lease.closes and status is not None and status < 400:
            self.bindings.close(binding)

    def restore(self, session_id: str, url: str, heard: float, *, is_closed: bool) -> None:
        """Take in a binding that is on record; its upstream may be none of ours any more."""
        try:
            found = target(url)
        except ValueError:
            return
        binding = self.bindings.bind(session_id, found, heard)
        binding.is_proven = True
        if is_closed:
            self.bindings.close(binding)

    def bound(self, session_id: str) -> tuple[str, float, bool] | None:
        """Where a session goes, when that heard of it last, and whether it is closed."""
        found = self.bindings.found(session_id)
        if found is None or (not found.is_proven and not found.in_flight):
            return None
        return found.target.url, found.heard, found.is_closed

    def heard_of(self, session_id: str, url: str, heard: float, is_closed: bool) -> None:
        """Take in where another proxy has sent a session, unless more is known here."""
        found = self.bindings.found(session_id)
        if found is None or (not found.in_flight and found.heard < heard):
            self.restore(session_id, url, heard, is_closed=is_closed)

    def _inherited(self, identity: Identity, now: float) -> Target | None:
        if not self._settings.inherit or not identity.parent_session_id:
            return None
        parent = self.bindings.get(identity.parent_session_id, now)
        return parent.target if parent is not None and self.is_well(parent.target) else None

    def _emptiest(self) -> Target | None:
        well = [target for target in self.targets if self.is_well(target)]
        return min(well, key=self.bindings.live, default=None)


def _ask_for_new(session_id: str, why: str) -> Refusal:
    return Refusal(
        Trouble.GONE,
        f"session {session_id} is closed: {why}; begin a new session with a new id",
    )


def _nobody_well(targets: tuple[Target, ...]) -> Refusal:
    names = ", ".join(target.url for target in targets)
    return Refusal(Trouble.UNAVAILABLE, f"none of the upstreams answers: {names}", RETRY_SECONDS)
