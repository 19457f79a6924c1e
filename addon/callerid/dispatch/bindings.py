"""Which upstream each session is bound to, and how many live sessions each upstream has."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

from callerid.dispatch.verdict import Target

MOST = 65_536  # bindings; Dynamo's bound (lib/llm/src/session_affinity). The one idle longest goes


class Binding:
    """A session's place; `heard` is when its last call ended, in seconds since the epoch."""

    __slots__ = ("heard", "in_flight", "is_closed", "is_proven", "session_id", "target")

    def __init__(self, session_id: str, target: Target, heard: float) -> None:
        self.session_id = session_id
        self.target = target
        self.heard = heard
        self.in_flight = 0
        self.is_proven = False  # whether the upstream has answered it
        self.is_closed = False


class Bindings:
    """The bindings of live sessions; those that were idle for too long are forgotten.

    They are kept in the order in which they were heard of, so that forgetting looks at no other.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._bindings: OrderedDict[str, Binding] = OrderedDict()
        self._live: Counter[Target] = Counter()

    def __len__(self) -> int:
        return sum(self._live.values())

    def get(self, session_id: str, now: float) -> Binding | None:
        """The binding of a session, if it has one."""
        self._forget_idle(now)
        return self._bindings.get(session_id)

    def found(self, session_id: str) -> Binding | None:
        """The binding that a session has, or had until it was idle for too long."""
        return self._bindings.get(session_id)

    def live(self, target: Target) -> int:
        """How many sessions that are not closed an upstream has."""
        return self._live[target]

    def bind(self, session_id: str, target: Target, now: float) -> Binding:
        """Bind a session, or bind it anew."""
        if session_id in self._bindings:
            self.drop(self._bindings[session_id])
        binding = self._bindings[session_id] = Binding(session_id, target, now)
        self._live[target] += 1
        if len(self._bindings) > MOST:
            self.drop(next(iter(self._bindings.values())))
        return binding

    def heard(self, binding: Binding, now: float) -> None:
        """Let the idle time of a session begin again."""
        if self._is_current(binding):
            binding.heard = now
            self._bindings.move_to_end(binding.session_id)

    def close(self, binding: Binding) -> None:
        """Let a session be over; that it was is known until it has been idle for long enough."""
        if self._is_current(binding) and not binding.is_closed:
            binding.is_closed = True
            self._live[binding.target] -= 1

    def drop(self, binding: Binding) -> None:
        """Forget a binding, unless its session has got another since."""
        if self._is_current(binding):
            del self._bindings[binding.session_id]
            self._live[binding.target] -= not binding.is_closed

    def _is_current(self, binding: Binding) -> bool:
        return self._bindings.get(binding.session_id) is binding

    def _forget_idle(self, now: float) -> None:
        for binding in self._oldest():
            if now - binding.heard <= self._ttl:
                return
            if binding.in_flight:
                self.heard(binding, now)  # it is not idle
            else:
                self.drop(binding)

    def _oldest(self) -> Iterator[Binding]:
        """The bindings from the one idle longest on, each of them once, however they move."""
        for _ in range(len(self._bindings)):
            yield next(iter(self._bindings.values()))
