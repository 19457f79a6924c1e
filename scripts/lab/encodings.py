"""Content encodings whose every piece can be read as soon as it arrives."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib: 16 more asks for the gzip header


class Packer(Protocol):
    """Packs a body that comes in pieces."""

    def piece(self, data: bytes) -> bytes:
        """All bytes that a reader needs to have read `data`."""

    def end(self) -> bytes:
        """What closes the body."""


class Plain:
    """No encoding."""

    def piece(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class Zlib:
    """gzip and deflate; a sync flush ends every piece."""

    def __init__(self, window: int) -> None:
        self._packer = zlib.compressobj(wbits=window)

    def piece(self, data: bytes) -> bytes:
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._packer.flush()


class Brotli:
    """br."""

    def __init__(self) -> None:
        self._packer = brotli.Compressor()

    def piece(self, data: bytes) -> bytes:
        return self._packer.process(data) + self._packer.flush()

    def end(self) -> bytes:
        return self._packer.finish()


class Zstandard:
    """zstd; every piece is a block of one frame."""

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor().compressobj()

    def piece(self, data: bytes) -> bytes:
        packed = self._packer.compress(data)
        return packed + self._packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._packer.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


def accepts(accept_encoding: str, encoding: str) -> bool:
    """Whether a client that sent this accept-encoding can read this encoding."""
    return encoding in (row.split(";")[0].strip().lower() for row in accept_encoding.split(","))


def packer(encoding: str) -> Packer:
    """A fresh packer; "" packs nothing."""
    return _PACKERS[encoding]()


def unpack(encoding: str, body: bytes) -> bytes:
    """The body as it was before it was packed."""
    return _UNPACKERS[encoding](body)


def _unpack_zstd(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


_PACKERS: dict[str, Callable[[], Packer]] = {
    "": Plain,
    "gzip": lambda: Zlib(_GZIP_WINDOW),
    "deflate": lambda: Zlib(zlib.MAX_WBITS),
    "br": Brotli,
    "zstd": Zstandard,
}
_UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": lambda body: zlib.decompress(body, _GZIP_WINDOW),
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": _unpack_zstd,
}
