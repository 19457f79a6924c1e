"""A user's own function for texts: found by its name, and stopped where it takes too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType

from callerid.settings.checked import BadSetting

Hook = Callable[[str], str]
SECONDS = 2.0  # for one text; a function of patterns takes a thousandth of that
PATIENCE = 3  # texts in a row that took too long; then it is not asked for a while
REST_SECONDS = 60.0


def hook(named: str) -> Hook | None:
    """The function that `record.redact` names, as module:function; raises BadSetting."""
    if not named:
        return None
    module, _, name = named.partition(":")
    try:
        return limited(getattr(import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise BadSetting(f"record.redact = {named!r}, but it cannot be had: {error}") from None


def limited(
    function: Hook, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
) -> Hook:
    """The function, which raises TimeoutError where it has not answered in time.

    When that has happened a few times in a row, it rests, and every text costs that error at once.

    Only the main thread of a process can be interrupted, as that of the one that records is; in
    another thread (`record.own_process: false`) and on Windows it may take as long as it likes. So
    may what Python cannot interrupt: one long call of C, and a function with alarms of its own.
    """
    if not hasattr(signal, "setitimer"):
        return function
    late, asked_again = 0, 0.0

    def in_time(text: str) -> str:
        nonlocal late, asked_again
        if threading.current_thread() is not threading.main_thread():
            return function(text)
        if late >= PATIENCE and clock() < asked_again:
            raise TimeoutError("it is not asked for a while")
        try:
            answer = _stopped_after(seconds, function, text)
        except TimeoutError:
            late, asked_again = late + 1, clock() + REST_SECONDS
            raise
        late = 0
        return answer

    return in_time


def _stopped_after(seconds: float, function: Hook, text: str) -> str:
    before = signal.signal(signal.SIGALRM, _stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, should it be swallowed
        try:
            return function(text)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Stopped:  # also where it came a moment after the function was done
        raise TimeoutError(f"it took more than {seconds:g} s") from None
    finally:
        signal.signal(signal.SIGALRM, before)


class _Stopped(BaseException):
    """What interrupts the function; `except Exception` in it does not catch this."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped
