"""A proxy's writer under load, in a process of its own: it is killed, or told to end.

It writes calls through a Recorder, some of them answered at once, some later, some never, and says
of each that was answered when that was. `python crashing.py FILE NAME [apart]` ends with its input;
with `apart` a process of the recorder's own writes.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path

from callerid.guard import Guard
from callerid.prices import Prices
from callerid.settings.load import load
from callerid.settings.values import RecordSettings
from callerid.traces.apart import ApartRecorder
from callerid.traces.record import Recorder, ThreadRecorder
from callerid.traces.rows import State
from test_record import entry

FLUSH_SECONDS = 0.05
PAUSE_SECONDS = 0.001
NEVER = 50  # each call of this number is never answered
UNDER_WAY = 20  # calls that are answered only after so many others


def main(path: Path, name: str, where: str = "") -> None:
    guard, configuration = Guard(), load()
    settings = RecordSettings(flush_seconds=FLUSH_SECONDS)
    recorder: Recorder
    if where == "apart":
        recorder = ApartRecorder(path, configuration, guard)
    else:
        recorder = ThreadRecorder(path, settings, guard, Prices(configuration.prices))
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    waiting: deque[str] = deque()
    number = 0
    while not ending.is_set():
        number += 1
        id = f"{name}-{number:06}"
        session = f"{name}-{number % 5}"
        recorder.put(entry(id, "Hello", f"Task {number}", session=session, state=State.IN_FLIGHT))
        if number % NEVER:
            waiting.append(id)
        if len(waiting) > UNDER_WAY:
            answered = waiting.popleft()
            recorder.put(entry(answered, session=session))
            print(answered, time.monotonic(), flush=True)
        time.sleep(PAUSE_SECONDS)
    recorder.close(10)
    assert not guard.counts, guard.counts


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    main(Path(sys.argv[1]), *sys.argv[2:])
