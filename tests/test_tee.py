"""The tee: bytes pass as they come, whatever is done with them beside."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.proxy.tee import Tee

CHUNKS = st.lists(st.binary(min_size=1, max_size=20), max_size=10)


def tee(seen: list[bytes], viewable_bytes: int = 1000) -> Tee:
    """A tee whose clock says 1, 2, 3 ..."""
    ticks = itertools.count(1)
    return Tee(seen.append, viewable_bytes, lambda: float(next(ticks)))


@make.QUICK
@given(chunks=CHUNKS, viewable_bytes=st.integers(0, 200))
def test_every_chunk_passes_as_it_is_and_is_seen(chunks: list[bytes], viewable_bytes: int) -> None:
    seen: list[bytes] = []
    passing = tee(seen, viewable_bytes)

    passed = [passing(chunk) for chunk in [*chunks, b""]]

    assert passed == [*chunks, b""]
    assert seen == chunks
    assert passing.size == sum(map(len, chunks))


@make.QUICK
@given(chunks=CHUNKS, viewable_bytes=st.integers(0, 200))
def test_a_reply_can_be_viewed_whole_or_not_at_all(
    chunks: list[bytes], viewable_bytes: int
) -> None:
    passing = tee([], viewable_bytes)

    for chunk in chunks:
        passing(chunk)

    body = b"".join(chunks)
    assert passing.viewable == (body if len(body) <= viewable_bytes else None)


def test_the_end_is_passed_on_and_not_seen() -> None:
    seen: list[bytes] = []

    assert tee(seen)(b"") == b""
    assert seen == []


@pytest.mark.parametrize("chunks", [[b"a"], [b"a", b"b", b""]])
def test_the_first_byte_has_the_time_at_which_it_came(chunks: list[bytes]) -> None:
    passing = tee([])
    assert passing.first_byte is None

    for chunk in chunks:
        passing(chunk)

    assert passing.first_byte == 1.0


def test_a_reply_without_bytes_has_no_first_one() -> None:
    passing = tee([])

    passing(b"")

    assert passing.first_byte is None
    assert passing.viewable == b""
