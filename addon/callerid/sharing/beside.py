"""What an engine does that would hold up the loop: in one thread of its own, in the order asked."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from callerid.sharing.engine import Away

MOST_WAITING = 1000  # pieces of work; what is beyond them is not done

Answer = TypeVar("Answer")


class Beside:
    """Does one piece of work after another; `trouble` is what it may raise when it cannot."""

    def __init__(self, trouble: tuple[type[Exception], ...]) -> None:
        self._trouble = trouble
        self._pool = ThreadPoolExecutor(1, "callerid-sharing")
        self._waiting = 0

    def do(self, work: Callable[[], Answer]) -> Future[Answer]:
        """What comes of a piece of work; fails with Away where that is trouble."""
        loop = asyncio.get_running_loop()
        future: Future[Answer] = loop.create_future()
        if self._waiting >= MOST_WAITING:
            future.set_exception(Away("too much waits for it"))
            return future
        self._waiting += 1

        def tell(answer: Answer | None, error: Exception | None) -> None:
            self._waiting -= 1
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answer)  # type: ignore[arg-type]

        def run() -> None:
            answer, error = None, None
            try:
                answer = work()
            except self._trouble as raised:
                error = Away(f"{type(raised).__name__}")
            try:
                loop.call_soon_threadsafe(tell, answer, error)
            except RuntimeError:
                pass  # the loop has ended: nobody waits

        try:
            self._pool.submit(run)
        except RuntimeError:  # it was closed
            tell(None, Away("it was closed"))
        return future

    def close(self, last: Callable[[], None]) -> None:
        """Take no more, and do one thing at the end."""
        self._pool.submit(last)
        self._pool.shutdown(wait=False)
