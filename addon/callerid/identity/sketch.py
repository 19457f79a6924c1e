"""Sketches of texts: a few numbers that two texts share when they share most of their words.

A sketch is the smallest hashes of a text's word triples (a bottom-k sketch: Broder, "On the
resemblance and containment of documents", 1997). A text in which some words were changed keeps
most of its sketch; a text that contains another contains most of the other's triples.
"""

from __future__ import annotations

from heapq import nsmallest
from zlib import crc32

SKETCH_SIZE = 12  # a word changed in forty leaves about eleven of twelve triples as they were
TRIPLE = 3
MAX_WORDS = 4000  # looked at per text: what identifies a text is found in its first pages
# Odd numbers of 64 bits that scatter what they multiply (the golden ratio; two of xxHash's primes).
_FIRST, _SECOND, _THIRD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_MASK = (1 << 64) - 1


def triples(text: str, salt: int) -> set[int]:
    """The hashes of a text's word triples (of its words, where there are fewer than three)."""
    words = text.lower().encode("utf-8", "surrogatepass").split(None, MAX_WORDS)[:MAX_WORDS]
    if len(words) < TRIPLE:
        words += [b""] * (TRIPLE - len(words)) if words else []
    first = [crc32(word, salt) for word in words]  # one hash a word: a triple's is made of three
    return {
        (one * _FIRST ^ two * _SECOND ^ three * _THIRD) & _MASK
        for one, two, three in zip(first, first[1:], first[2:], strict=False)
    }


def sketch(text: str, salt: int, besides: str = "") -> list[int]:
    """The sketch of a text, without the triples that stand in another text.

    `salt` keeps the texts of different customers apart.
    """
    own = triples(text, salt)
    return nsmallest(SKETCH_SIZE, own - triples(besides, salt) if besides else own)
