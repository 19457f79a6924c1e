"""What is decided of a call before it leaves: where it goes, or why it does not."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from callerid.wire.errors import Trouble


class Target(NamedTuple):
    """An upstream that a call can be sent to."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """As it stands in the settings."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def target(url: str) -> Target:
    """The target that a URL names; raises ValueError for a port that is none."""
    parts = urlsplit(url)
    return Target(
        parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    )


class Refusal(NamedTuple):
    """Why a call is not forwarded; `retry_after` are seconds, where waiting helps."""

    trouble: Trouble
    message: str
    retry_after: int | None = None
