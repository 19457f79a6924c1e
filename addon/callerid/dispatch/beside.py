"""Threads beside the proxy's loop, for what may have to wait for a storage that is shared.

They are our own: in asyncio's, names of hosts are looked up, which a storage that hangs would stop.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

THREADS = 4
MOST_WAITING = 200  # pieces of work that nobody waits for; what is beyond them is not done

Answer = TypeVar("Answer")


class Beside:
    """Does one piece of work after another, a few at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "callerid-budget")
        self._places = BoundedSemaphore(MOST_WAITING)

    def ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        """Begin something that somebody waits for; he may cancel it."""
        return self._pool.submit(question)

    def put(self, work: Callable[[], None]) -> bool:
        """Begin something that nobody waits for; False where too much of that is waiting already.

        The work must not raise.
        """
        if not self._places.acquire(blocking=False):
            return False
        try:
            self._pool.submit(work).add_done_callback(lambda _: self._places.release())
        except RuntimeError:  # the pool was closed: the proxy stops
            self._places.release()
            return False
        return True

    def close(self) -> None:
        """Take no more; what was begun goes on to its end."""
        self._pool.shutdown(wait=False)
