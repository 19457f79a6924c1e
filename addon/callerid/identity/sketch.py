"""Sketches of texts: a few numbers that two texts share when they share most of their words.

A sketch is the smallest hashes of a text's word triples (a bottom-k sketch: Broder, "On the
resemblance and containment of documents", 1997). A text in which some words were changed keeps
most of its sketch; a text that contains another contains most of the other's triples.
"""

from __future__ import annotations

from functools import lru_cache
from heapq import nsmallest
from zlib import crc32

SKETCH_SIZE = 12  # a word changed in forty leaves about eleven of twelve triples as they were
TRIPLE = 3  # words
MAX_WORDS = 4000  # looked at per text: what identifies a text is found in its first pages
REMEMBERED = 8  # texts: an opening is looked for in several places


@lru_cache(maxsize=REMEMBERED)
def triples(text: str, salt: int) -> frozenset[int]:
    """The hashes of a text's word triples (of its words, where there are fewer than three)."""
    words = text.lower().encode("utf-8", "surrogatepass").split(None, MAX_WORDS)[:MAX_WORDS]
    if len(words) < TRIPLE:
        return frozenset([crc32(b" ".join(words), salt)] if words else [])
    return frozenset(
        [
            crc32(first, crc32(second, crc32(third, salt)))
            for first, second, third in zip(words, words[1:], words[2:], strict=False)
        ]
    )


def sketch(text: str, salt: int, besides: str = "") -> list[int]:
    """The sketch of a text, without the triples that stand in another text.

    `salt` keeps the texts of different customers apart.
    """
    own = triples(text, salt)
    return nsmallest(SKETCH_SIZE, own - triples(besides, salt) if besides else own)
