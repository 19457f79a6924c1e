"""Looks at the upstreams of routing every few seconds: who does not answer gets no calls."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from callerid.dispatch.routes import Routes
from callerid.dispatch.verdict import Target
from callerid.guard import Guard
from callerid.settings.values import HealthSettings

TIMEOUT_SECONDS = 2.0
PAUSE_SECONDS = 0.2  # after a look for which a connection was closed: many may be closed at once


class Health:
    """Tells the routes which upstreams are well."""

    def __init__(self, routes: Routes, settings: HealthSettings, guard: Guard) -> None:
        self._routes = routes
        self._settings = settings
        self._guard = guard
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._lost = {target: asyncio.Event() for target in routes.targets}

    def start(self) -> None:
        """Begin to look, in the loop that runs; again and again until `stop`."""
        if self._routes.targets and not self._tasks:
            if self._settings.path:
                most = len(self._routes.targets)
                self._threads = ThreadPoolExecutor(most, "callerid-health")
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._watch(target)) for target in self._lost]

    def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def lost(self, host: str, port: int) -> None:
        """A connection was closed: look now whether its upstream is still there."""
        for target, event in self._lost.items():
            if (target.host, target.port) == (host, port):
                event.set()

    async def _watch(self, target: Target) -> None:
        lost = self._lost[target]
        while True:
            await self._look_at(target)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), self._settings.every_seconds)
            if lost.is_set():
                lost.clear()
                await self._look_at(target)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look_at(self, target: Target) -> None:
        with self._guard("health"):
            is_well = await self._answers(target)
            if self._routes.found(target, is_well=is_well):
                how = "again" if is_well else "not, and gets no calls until it does"
                self._guard.tell(f"{target.url} answers {how}")

    async def _answers(self, target: Target) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._threads is not None:
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(
                        self._threads, _gets, target, self._settings.path
                    )
                _, writer = await asyncio.open_connection(target.host, target.port)
        except (OSError, TimeoutError, HTTPException):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


def _gets(target: Target, path: str) -> bool:
    """Whether an upstream answers 2xx or 3xx at a path.

    Who it is, by its certificate, mitmproxy asks with every call, and as its options say.
    """
    connection = (
        HTTPSConnection(
            target.host, target.port, timeout=TIMEOUT_SECONDS,
            context=ssl._create_unverified_context(),
        )
        if target.scheme == "https"
        else HTTPConnection(target.host, target.port, timeout=TIMEOUT_SECONDS)
    )  # fmt: skip
    with contextlib.closing(connection):
        connection.request("GET", f"/{path.lstrip('/')}")
        return 200 <= connection.getresponse().status < 400
