"""The tee: sees the bytes of a streamed reply on their way to the client, and lets them pass.

mitmproxy calls it outside its own guard: if it raised, the chunk would be lost to the client, and
if it returned b"" in the middle, HTTP/1 clients would take the reply for finished. So it returns
exactly what it was given, whatever happens to the reading.
"""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]


class Tee:
    """Passes chunks on, notes when they came, and gives them to a reader.

    `watch` is called with each chunk, and must not raise. The first `viewable_bytes` are kept for
    the view of the flow afterwards; of a longer reply nothing is.
    """

    def __init__(self, watch: Callable[[bytes], None], viewable_bytes: int, now: Clock) -> None:
        self.first_byte: float | None = None
        self.size = 0
        self._watch = watch
        self._viewable_bytes = viewable_bytes
        self._now = now
        self._chunks: list[bytes] = []

    def __call__(self, chunk: bytes) -> bytes:
        """Take one chunk as mitmproxy gives it (b"" once, at the end) and give it back."""
        if chunk:
            if self.first_byte is None:
                self.first_byte = self._now()
            self.size += len(chunk)
            if self.size <= self._viewable_bytes:
                self._chunks.append(chunk)
            self._watch(chunk)
        return chunk

    @property
    def viewable(self) -> bytes | None:
        """The whole body as it came, where it was short enough to keep."""
        return b"".join(self._chunks) if self.size <= self._viewable_bytes else None
