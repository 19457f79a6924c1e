"""Looks at the upstreams of routing every few seconds: who does not answer gets no calls."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request

from callerid.dispatch.routes import Routes
from callerid.dispatch.verdict import Target
from callerid.guard import Guard
from callerid.settings.values import HealthSettings

TIMEOUT_SECONDS = 2.0


class Health:
    """Tells the routes which upstreams are well."""

    def __init__(self, routes: Routes, settings: HealthSettings, guard: Guard) -> None:
        self._routes = routes
        self._settings = settings
        self._guard = guard
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, in the loop that runs; again and again until `stop`."""
        if self._routes.targets and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        while True:
            with self._guard("health"):
                await asyncio.gather(*map(self._look_at, self._routes.targets))
            await asyncio.sleep(self._settings.every_seconds)

    async def _look_at(self, target: Target) -> None:
        is_well = await self._answers(target)
        if self._routes.found(target, is_well=is_well):
            how = "answers again" if is_well else "does not answer, and gets no calls until it does"
            self._guard.tell(f"{target.url} {how}")

    async def _answers(self, target: Target) -> bool:
        path = self._settings.path
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if path:
                    return await asyncio.to_thread(_gets, f"{target.url}/{path.lstrip('/')}")
                _, writer = await asyncio.open_connection(target.host, target.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


def _gets(url: str) -> bool:
    """Whether a URL answers 2xx, itself or where it leads to; by no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
        return 200 <= int(response.status) < 300
