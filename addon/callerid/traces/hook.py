"""A user's own function for texts: found by its name, and stopped where it takes too long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from importlib import import_module
from types import FrameType

from callerid.settings.checked import BadSetting

Hook = Callable[[str], str]
SECONDS = 2.0  # for one text; a function of patterns takes a thousandth of that


def hook(named: str) -> Hook | None:
    """The function that `record.redact` names, as module:function; raises BadSetting."""
    if not named:
        return None
    module, _, name = named.partition(":")
    try:
        return limited(getattr(import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise BadSetting(f"record.redact = {named!r}, but it cannot be had: {error}") from None


def limited(function: Hook, seconds: float = SECONDS) -> Hook:
    """The function, which raises TimeoutError where it has not answered in time.

    Only the main thread of a process can be interrupted, as that of the one that records is; in
    another thread (`record.own_process: false`) and on Windows it may take as long as it likes.
    """
    if not hasattr(signal, "setitimer"):
        return function

    def in_time(text: str) -> str:
        if threading.current_thread() is not threading.main_thread():
            return function(text)
        before = signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            try:
                return function(text)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
        except _Stopped:  # also where it came a moment after the function was done
            raise TimeoutError(f"it took more than {seconds:g} s") from None

    return in_time


class _Stopped(BaseException):
    """What interrupts the function; `except Exception` in it does not catch this."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped
