"""People who look at the explorer while traffic passes: one page after the other, at random."""

from __future__ import annotations

import random
import re
import threading
import time
from types import TracebackType
from typing import Self

import httpx

from lab.load import percentiles
from lab.proxy import Proxy

_ADDRESS = r"look at (http://\S+)/,"
_LINK = re.compile(r'href="(/(?:run|session|call|agents?|compare)?(?:\?[^"]*)?)"')
SECONDS = 60.0  # for a page, on a machine that is busy
PAUSE_SECONDS = 0.2  # that somebody takes before he clicks again


class Looker:
    """So many readers while the `with` block lasts, each of whom follows links."""

    def __init__(self, proxy: Proxy, readers: int) -> None:
        self._proxy = proxy
        self._ended = threading.Event()
        self._readers = [threading.Thread(target=self._read, args=(at,)) for at in range(readers)]
        self.took: list[float] = []
        self.refused = 0

    def __enter__(self) -> Self:
        if self._readers:
            self._url = self._proxy.wait_for(_ADDRESS)[1]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._ended.set()
        for reader in self._readers:
            reader.join()

    def told(self) -> str:
        """What became of the pages, in words."""
        if len(self.took) < 2:
            return f"Pages: {len(self.took)}"
        p50, p99 = (1000 * each for each in percentiles(self.took))
        return (
            f"Pages: {len(self.took):,}, in {p50:.0f} ms (p50) and {p99:.0f} ms (p99); "
            f"{self.refused} were refused, as too many were asked for at once."
        )

    def _read(self, number: int) -> None:
        chance, links = random.Random(number), ["/"]
        with httpx.Client(base_url=self._url, timeout=SECONDS, trust_env=False) as client:
            while not self._ended.wait(PAUSE_SECONDS):
                began = time.perf_counter()
                page = client.get(chance.choice(links).replace("&amp;", "&"))
                self.refused += page.status_code == 503
                self.took.append(time.perf_counter() - began)
                links = ["/", *_LINK.findall(page.text)] if page.is_success else ["/"]
