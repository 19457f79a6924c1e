"""The one guard at the edge: whatever goes wrong is counted and said once, and traffic flows."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

MAX_KINDS = 1000  # of trouble that are told apart, so that hostile traffic cannot fill memory


class Guard:
    """Counts trouble by what it was, and logs each kind of it once.

    Warnings, not errors: an error logged while mitmproxy starts would end it.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Let nothing out of a stage but what ends the program."""
        try:
            yield
        except Exception as error:
            self._catch(stage, error)

    def _catch(self, stage: str, error: Exception) -> None:
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

    def tell(self, words: str) -> None:
        """Say something that is no trouble, for the operator to know."""
        log.info("callerid: %s", words)

    def _is_new(self, stage: str, kind: str) -> bool:
        if (stage, kind) in self._said or len(self._said) >= MAX_KINDS:
            return False
        self._said.add((stage, kind))
        return True
