"""An engine: where sessions lie that several proxies share, found by names, changed by claims.

What is kept of a session is a head, which is replaced, and entries, which are only added: how many
there are is its version. A writer says which version he knows; if there is a newer one, nothing of
what he says is taken. So of two who go on with one session at once, the second must look first.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

MOST_OWNERS = 16  # sessions that one name finds, the newest: as in identity/index.py
MOST_RECENT = 64  # of a name that finds what has just begun
RECENT = (b"o", b"a")  # how such names begin (sharing/names.py)
NAMES_OUTLIVE = 2.0  # times a session's time to live; it tells its names again before that
SECONDS_TO_WAIT = 5.0  # for an engine that does not answer at all, before its connection is cut


class Away(Exception):
    """The engine cannot be asked now."""


class Found(NamedTuple):
    """A session in its newest version; `entries` are those from the `since`-th on."""

    id: str
    version: int
    since: int
    head: bytes
    entries: list[bytes]


class Write(NamedTuple):
    """What one session has come to: its new head, one entry more, and names that find it.

    `version` is the one that the writer knows (0: none), `gone` are names that find it no more,
    `seconds` how long it is kept from now on.
    """

    id: str
    version: int
    head: bytes
    entry: bytes
    seconds: float
    names: Sequence[bytes] = ()
    gone: Sequence[bytes] = ()


class Engine(Protocol):
    """Answers in futures, which may fail with Away; asked in the loop, and only there.

    `place` is where it is, in words for people: never with a password.
    """

    place: str

    async def open(self) -> None:
        """Make ready; raises Away. It opens itself again when it was lost."""
        ...

    def look(
        self, names: Sequence[bytes], ids: Sequence[str], known: Mapping[str, int]
    ) -> Future[list[Found]]:
        """The sessions that go by some names or ids, but for those of which no more is there.

        `known` are the versions that the asker has.
        """
        ...

    def put(self, writes: Sequence[Write]) -> Future[bool]:
        """Keep all of this; False where a newer version of one is there, and nothing was kept."""
        ...

    def claim(self, key: str, value: bytes, seconds: float) -> Future[bytes]:
        """What stands at a key: this value if nothing does. Kept for so long (0: for ever)."""
        ...

    def drop(self, ids: Sequence[str]) -> Future[None]:
        """Forget some sessions; their names find nothing then."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


def most_owners(name: bytes) -> int:
    """How many sessions a name finds."""
    return MOST_RECENT if name[:1] in RECENT else MOST_OWNERS
