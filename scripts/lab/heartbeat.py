"""Loaded beside what is measured: writes down when the proxy's loop stood still, and how long."""

import asyncio
import time

EVERY_SECONDS = 0.002
LATE_SECONDS = 0.003
FILE = "heartbeat.txt"  # in the proxy's folder; lines of: when (monotonic), how late, in seconds


class Heartbeat:
    """Asks to be called again and again, and looks at how late it is."""

    def running(self) -> None:
        self._file = open(FILE, "a", buffering=1)  # noqa: SIM115  (until done)
        self._loop = asyncio.get_running_loop()
        self._again()

    def done(self) -> None:
        self._file.close()

    def _again(self) -> None:
        self._due = time.monotonic() + EVERY_SECONDS
        self._loop.call_later(EVERY_SECONDS, self._beat)

    def _beat(self) -> None:
        late = time.monotonic() - self._due
        if late > LATE_SECONDS and not self._file.closed:
            self._file.write(f"{time.monotonic()} {late}\n")
        self._again()


addons = [Heartbeat()]
