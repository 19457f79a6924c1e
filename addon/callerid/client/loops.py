"""Runs what is async for programs that are not: in one event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Value = TypeVar("Value")
_END = object()
_THREAD = "callerid client"
END_SECONDS = 1.0  # that closing connections, and leaving a stream, may take


class _Aside:
    """The loop, made when it is first wanted; it ends with the program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._loop.run_forever, name=_THREAD, daemon=True)
                thread.start()
            return self._loop

    def is_here(self) -> bool:
        return threading.current_thread().name == _THREAD


_aside = _Aside()


def _forget() -> None:
    """A process that was forked has no thread of it."""
    global _aside
    _aside = _Aside()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def is_ours() -> bool:
    """Whether the loop that runs is the one of the thread."""
    return asyncio.get_running_loop() is _aside.loop()


def end(closes: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Close what was used in the loop; nobody waits long for it."""
    future = asyncio.run_coroutine_threadsafe(closes(), _aside.loop())
    if not _aside.is_here():
        with suppress(FutureTimeout):
            future.result(END_SECONDS)


def run(work: Coroutine[Any, Any, Value]) -> Value:
    """Do a work, and wait until it is done; it is left where the waiting is broken off."""
    future = asyncio.run_coroutine_threadsafe(work, _aside.loop())
    try:
        return future.result()
    finally:
        future.cancel()


def iterate(items: AsyncGenerator[Value, None]) -> Iterator[Value]:
    """Some items as they are asked for; whoever asks for no more of them ends the work there."""
    loop, wanted = _aside.loop(), asyncio.Event()
    come: SimpleQueue[Any] = SimpleQueue()
    has_ended = threading.Event()

    async def pump() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    wanted.clear()
                    come.put(item)
                    await wanted.wait()
        finally:
            has_ended.set()
            come.put(_END)

    future = asyncio.run_coroutine_threadsafe(pump(), loop)
    try:
        while (item := come.get()) is not _END:
            yield item
            loop.call_soon_threadsafe(wanted.set)
        future.result()
    finally:
        future.cancel()
        has_ended.wait(END_SECONDS)
