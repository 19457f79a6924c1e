"""Unpacks content-encoded bodies, whole or as they come, within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

MAX_BODY_BYTES = 256 << 20  # unpacked; what is larger than this is a bomb, not a conversation
SLICE_BYTES = 1024  # zstd says 128 KiB in four bytes: a slice can be 32 MiB unpacked, not more


class BadEncoding(ValueError):
    """The bytes are not what the content-encoding header says."""


class Unpacker(Protocol):
    """Turns packed bytes into plain ones, as they come."""

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes; raises BadEncoding."""
        ...


class Inflating:
    """Unpacks zlib's formats; wbits 47 reads gzip and zlib, and raw deflate is tried on failure.

    RFC 9110 means zlib by "deflate", some servers mean raw deflate.
    """

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(47)
        self._has_begun = False

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes; members of a gzip file may follow one another."""
        plain = self._first(chunk) if not self._has_begun else self._inflate.decompress(chunk)
        self._has_begun = self._has_begun or bool(chunk)
        while self._inflate.eof and (rest := self._inflate.unused_data):
            self._inflate = zlib.decompressobj(47)
            plain += self._inflate.decompress(rest)
        return plain

    def _first(self, chunk: bytes) -> bytes:
        try:
            return self._inflate.decompress(chunk)
        except zlib.error:
            self._inflate = zlib.decompressobj(-15)
            return self._inflate.decompress(chunk)


class Brotli:
    """Unpacks brotli."""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes."""
        return bytes(self._brotli.process(chunk))


class Zstandard:
    """Unpacks zstd, frame after frame."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes."""
        plain = bytearray()
        while chunk:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            plain += self._frame.decompress(chunk)
            chunk = self._frame.unused_data if self._frame.eof else b""
        return bytes(plain)


class Bounded:
    """Unpacks one encoding after another, turns their errors into ours, and stops at a bound.

    Packed bytes are taken a slice at a time, so that a bomb is noticed before it has gone off.
    """

    def __init__(self, unpackers: list[Unpacker]) -> None:
        self._unpackers = unpackers
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Unpack the next bytes through every encoding."""
        if not self._unpackers:
            return self._count(chunk)
        slices = range(0, len(chunk), SLICE_BYTES)
        return b"".join(self._unpack(chunk[at : at + SLICE_BYTES]) for at in slices)

    def _unpack(self, piece: bytes) -> bytes:
        try:
            for unpacker in self._unpackers:
                piece = unpacker.feed(piece)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise BadEncoding(f"the body is not packed as its header says: {error}") from None
        return self._count(piece)

    def _count(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise BadEncoding(f"expected at most {MAX_BODY_BYTES} bytes unpacked, got more")
        return piece


def unpacker(encoding: str) -> Unpacker:
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
