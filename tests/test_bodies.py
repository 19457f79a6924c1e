"""Packed bodies: every encoding, however it is cut, and nothing that fills memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.wire import bodies
from callerid.wire.bodies import BadEncoding

Pack = Callable[[bytes], bytes]


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def br(body: bytes) -> bytes:
    return brotli.compress(body, quality=5)


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def zstd_of_unknown_size(body: bytes) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(body) + packer.flush()


PACKINGS: dict[str, tuple[str, Pack]] = {
    "plain": ("", bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip members": ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", br),
    "zstd": ("zstd", zstd),
    "zstd of unknown size": ("zstd", zstd_of_unknown_size),
    "zstd frames": ("zstd", lambda body: zstd(body[:9]) + zstd_of_unknown_size(body[9:])),
    "gzip, then br": ("gzip, br", lambda body: br(gzip.compress(body))),
    "br, then gzip": ("br,gzip", lambda body: gzip.compress(br(body))),
    "in capitals": (" GZip , Identity ", gzip.compress),
}


def unpacked(encoding: str, chunks: list[bytes]) -> bytes:
    """The plain bytes that some packed chunks make."""
    unpacker = bodies.unpacker(encoding)
    return b"".join(map(unpacker.feed, chunks))


@pytest.mark.parametrize(("encoding", "pack"), PACKINGS.values(), ids=PACKINGS)
@make.QUICK
@given(data=st.data(), body=st.binary(max_size=300))
def test_what_was_packed_is_unpacked_however_it_is_cut(
    encoding: str, pack: Pack, data: st.DataObject, body: bytes
) -> None:
    packed = pack(body)

    assert bodies.unpack(encoding, packed) == body
    assert unpacked(encoding, data.draw(make.chunks(packed))) == body
    assert unpacked(encoding, make.bytewise(packed)) == body


@pytest.mark.parametrize(("encoding", "pack"), PACKINGS.values(), ids=PACKINGS)
def test_a_long_body_is_unpacked_whole(encoding: str, pack: Pack) -> None:
    body = b"".join(b"%d and again " % number for number in range(200_000))

    assert bodies.unpack(encoding, pack(body)) == body


FLUSHES: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "gzip": ("gzip", lambda: flushed(zlib.compressobj(wbits=31), zlib.Z_SYNC_FLUSH)),
    "deflate": ("deflate", lambda: flushed(zlib.compressobj(), zlib.Z_SYNC_FLUSH)),
    "zstd": (
        "zstd",
        lambda: flushed(
            zstandard.ZstdCompressor().compressobj(), zstandard.COMPRESSOBJ_FLUSH_BLOCK
        ),
    ),
}
EVENTS = [b"data: one\n\n", b"data: two\n\n"]


def flushed(packer: zlib._Compress | zstandard.ZstdCompressionObj, mode: int) -> list[bytes]:
    return [packer.compress(event) + packer.flush(mode) for event in EVENTS]


@pytest.mark.parametrize(("encoding", "packed"), FLUSHES.values(), ids=FLUSHES)
def test_each_event_is_unpacked_as_it_comes(
    encoding: str, packed: Callable[[], list[bytes]]
) -> None:
    unpacker = bodies.unpacker(encoding)

    assert [unpacker.feed(chunk) for chunk in packed()] == EVENTS


@pytest.mark.parametrize("encoding", ["compress", "gzip, rot13", "x" * 1000])
def test_an_unknown_encoding_is_named_with_what_is_known(encoding: str) -> None:
    with pytest.raises(BadEncoding) as caught:
        bodies.unpacker(encoding)

    message = str(caught.value)
    assert message.startswith("expected one of gzip, x-gzip, deflate, br, zstd, got '")
    assert encoding.rpartition(" ")[2][:40] in message
    assert len(message) < 120


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_bytes_that_are_not_packed_as_they_say_are_refused(encoding: str) -> None:
    with pytest.raises(BadEncoding, match="the body is not packed as its header says"):
        bodies.unpack(encoding, b'{"model": "m"} and so on, plainly')


@make.QUICK
@given(
    encoding=st.sampled_from(["gzip", "deflate", "br", "zstd", "zstd, gzip"]),
    chunks=st.lists(st.binary(max_size=50), max_size=5),
)
def test_whatever_bytes_come_nothing_else_is_raised(encoding: str, chunks: list[bytes]) -> None:
    with suppress(BadEncoding):
        unpacked(encoding, chunks)


MIB = 1 << 20
PEAK = 80 * MIB  # one slice unpacked, which is 32 MiB at most, and its copy
BOMBS: dict[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", br),
    "zstd": ("zstd", zstd),
    "gzip in gzip": ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "br in gzip": ("br, gzip", lambda body: gzip.compress(br(body))),
}


@pytest.mark.parametrize(("encoding", "pack"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_has_filled_memory(
    encoding: str, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", MIB)
    bomb = pack(bytes(128 * MIB))

    tracemalloc.start()
    try:
        with pytest.raises(BadEncoding, match=f"at most {MIB} bytes unpacked"):
            bodies.unpack(encoding, bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < PEAK


def test_plain_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 10)
    unpacker = bodies.unpacker("")

    assert unpacker.feed(b"12345") + unpacker.feed(b"67890") == b"1234567890"
    with pytest.raises(BadEncoding, match="at most 10 bytes"):
        unpacker.feed(b"1")
