"""Unpacks content-encoded bodies, whole or as they come, within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli
import zstandard

MAX_BODY_BYTES = 256 << 20  # unpacked; what is larger than this is a bomb, not a conversation
PIECE_BYTES = 1 << 20  # unpacked at a time, so that a bomb is noticed before it has gone off
# Where no limit can be given for what comes out, one is set to what goes in. zstd says 128 KiB in
# four bytes: 1024 are 32 MiB, not more. brotli before 1.2 says 16 MiB in a few.
ZSTD_SLICE = 1024
BROTLI_SLICE = 16


class BadEncoding(ValueError):
    """The bytes are not what the content-encoding header says."""


class Unpacker(Protocol):
    """Turns packed bytes into plain ones, as they come."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes, in pieces that are not too large; raises its library's error."""
        ...


class Inflating:
    """Unpacks zlib's formats: gzip, and deflate.

    RFC 9110 means zlib by "deflate", some servers mean raw deflate: the first two bytes tell.
    """

    def __init__(self) -> None:
        self._start = b""
        self._inflate: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes; members of a gzip file may follow one another."""
        if self._inflate is None:
            self._start += chunk
            if len(self._start) < 2:
                return
            chunk = self._start
            self._inflate = zlib.decompressobj(47 if _has_header(chunk) else -15)
        while chunk:
            yield self._inflate.decompress(chunk, PIECE_BYTES)
            chunk = self._inflate.unconsumed_tail
            if self._inflate.eof and (chunk := self._inflate.unused_data):
                self._inflate = zlib.decompressobj(47)


def _has_header(start: bytes) -> bool:
    """Whether bytes begin as gzip (RFC 1952) or zlib (RFC 1950) does."""
    is_zlib = start[0] & 0x0F == 8 and int.from_bytes(start[:2]) % 31 == 0
    return is_zlib or start[:2] == b"\x1f\x8b"


class Brotli:
    """Unpacks brotli."""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self._is_limited = hasattr(self._brotli, "can_accept_more_data")  # from 1.2 on

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes."""
        if not self._is_limited:
            yield from map(self._brotli.process, _slices(chunk, BROTLI_SLICE))
            return
        piece = self._brotli.process(chunk, output_buffer_limit=PIECE_BYTES)
        yield piece
        # can_accept_more_data says True too early, where all that went in is inside (1.2.0).
        while len(piece) >= PIECE_BYTES or not self._brotli.can_accept_more_data():
            piece = self._brotli.process(b"", output_buffer_limit=PIECE_BYTES)
            yield piece


class Zstandard:
    """Unpacks zstd, frame after frame."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes."""
        for piece in _slices(chunk, ZSTD_SLICE):
            while piece:
                if self._frame.eof:
                    self._frame = zstandard.ZstdDecompressor().decompressobj()
                yield self._frame.decompress(piece)
                piece = self._frame.unused_data if self._frame.eof else b""


def _slices(chunk: bytes, size: int) -> Iterator[bytes]:
    return (chunk[at : at + size] for at in range(0, len(chunk), size))


class Bounded:
    """Unpacks one encoding after another, turns their errors into ours, and stops at a bound."""

    def __init__(self, unpackers: list[Unpacker]) -> None:
        self._unpackers = unpackers
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes through every encoding; raises BadEncoding."""
        try:
            return b"".join(map(self._counted, self._unpacked(chunk, 0)))
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise BadEncoding(f"the body is not packed as its header says: {error}") from None

    def _unpacked(self, chunk: bytes, stage: int) -> Iterator[bytes]:
        if stage == len(self._unpackers):
            yield chunk
            return
        for piece in self._unpackers[stage].feed(chunk):
            yield from self._unpacked(piece, stage + 1)

    def _counted(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise BadEncoding(f"expected at most {MAX_BODY_BYTES} bytes unpacked, got more")
        return piece


def unpacker(encoding: str) -> Bounded:
    """The unpacker for a content-encoding header ("" is plain); raises BadEncoding if unknown."""
    names = [name.strip().lower() for name in encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    unknown = [name for name in names if name not in _UNPACKERS]
    if unknown:
        raise BadEncoding(f"expected one of {', '.join(_UNPACKERS)}, got {unknown[0][:40]!r}")
    return Bounded([_UNPACKERS[name]() for name in reversed(names)])


def unpack(encoding: str, body: bytes) -> bytes:
    """Unpack a whole body; raises BadEncoding."""
    return unpacker(encoding).feed(body)


_UNPACKERS: dict[str, Callable[[], Unpacker]] = {
    "gzip": Inflating,
    "x-gzip": Inflating,
    "deflate": Inflating,
    "br": Brotli,
    "zstd": Zstandard,
}
