"""The one guard at the edge: whatever goes wrong is counted and said once, and traffic flows."""

from __future__ import annotations

import logging
import traceback
from collections import Counter

log = logging.getLogger(__name__)

MAX_KINDS = 1000  # of trouble that are told apart, so that hostile traffic cannot fill memory


class _Stage:
    """Catches what is raised within it; it holds nothing, and may be entered again and again.

    A class, not a generator: some twenty are entered for every call.
    """

    __slots__ = ("_guard", "_name")

    def __init__(self, name: str, guard: Guard) -> None:
        self._name = name
        self._guard = guard

    def __enter__(self) -> None:
        """Nothing is made ready."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Let nothing out but what ends the program."""
        if isinstance(error, Exception):
            self._guard.catch(self._name, error)
            return True
        return False


class Guard:
    """Counts trouble by what it was, and logs each kind of it once.

    Warnings, not errors: an error logged while mitmproxy starts would end it.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()
        self._stages: dict[str, _Stage] = {}

    def __call__(self, stage: str) -> _Stage:
        """Let nothing out of a stage but what ends the program."""
        found = self._stages.get(stage)
        if found is None:
            found = self._stages[stage] = _Stage(stage, self)
        return found

    def catch(self, stage: str, error: Exception) -> None:
        """Count what a stage raised, and say it once."""
        self.counts[f"failed.{stage}"] += 1
        where = traceback.extract_tb(error.__traceback__)[-1:]
        kind = f"{type(error).__name__} {where[0].filename}:{where[0].lineno}" if where else ""
        if self._is_new(stage, kind):
            # The frames, not the message: an exception's text may quote a body or a header.
            frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            log.warning(
                "callerid: %s failed with %s; the call passes as it came (this is said once)\n%s",
                stage, type(error).__name__, frames,
            )  # fmt: skip

    def note(self, kind: str, words: str, times: int = 1) -> None:
        """Count something that is not our fault, and say it once. Any thread may call this."""
        self.counts[kind] += times
        if self._is_new(kind, ""):
            log.warning("callerid: %s (counted as %s; this is said once)", words, kind)

    def lost(self, words: str, records: int, calls: int) -> None:
        """Count records that were dropped, and the calls of which no end is on record then."""
        self.note("dropped", words, records)
        if calls:
            self.counts["dropped_calls"] += calls

    def over(self, kind: str, words: str) -> None:
        """Say that something noted is over; should it come again, it is said again."""
        self._said.discard((kind, ""))
        log.info("callerid: %s", words)

    def tell(self, words: str) -> None:
        """Say something that is no trouble, for the operator to know."""
        log.info("callerid: %s", words)

    def _is_new(self, stage: str, kind: str) -> bool:
        if (stage, kind) in self._said or len(self._said) >= MAX_KINDS:
            return False
        self._said.add((stage, kind))
        return True
