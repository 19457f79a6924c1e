r"""Folds out of a message's JSON the words that are stored beside it as text.

`{"role":"user","content":"Hello"}` with the text `Hello` is kept as `{"role":"user","content":""}`
and one fold: at byte 27 stand the first 5 characters of the text, as JSON writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from callerid.wire import wirejson

LEAST = 40  # characters: to keep less of a text where it stands costs less than a fold


class Fold(NamedTuple):
    """At a byte of the body stand so many characters of the text, from `start` on.

    `is_ascii` says how JSON was written: with everything else escaped, as json.dumps does.
    """

    at: int
    start: int
    length: int
    is_ascii: bool = False


class Line(NamedTuple):
    """A line of a transcript, as stored; whether it may be folded (it is a text of the message).

    `end` is what stands between it and the next one.
    """

    text: str
    is_text: bool
    end: str = "\n"


def folded(body: bytes, lines: Iterable[Line]) -> tuple[bytes, list[Fold]]:
    """A message's JSON without the texts that are in its transcript, and where they belong."""
    folds: list[Fold] = []
    kept: list[bytes] = []
    start = at = removed = 0
    for line in lines:
        if line.is_text and len(line.text) >= LEAST:
            for is_ascii in (False,) if line.text.isascii() else (False, True):
                words = _words(line.text, is_ascii=is_ascii)
                place = body.find(words, at) if words else -1
                if place >= 0:
                    kept.append(body[at:place])
                    folds.append(Fold(place - removed, start, len(line.text), is_ascii))
                    at, removed = place + len(words), removed + len(words)
                    break
        start += len(line.text) + len(line.end)
    return b"".join([*kept, body[at:]]), folds


def unfolded(body: bytes, folds: Sequence[Fold], text: str) -> bytes:
    """A message's JSON with its texts back in their places."""
    pieces: list[bytes] = []
    done = 0
    for fold in folds:
        words = _words(text[fold.start : fold.start + fold.length], is_ascii=fold.is_ascii)
        pieces += [body[done : fold.at], words]
        done = fold.at
    return b"".join([*pieces, body[done:]])


def _words(text: str, *, is_ascii: bool) -> bytes:
    """A text as it stands between the quotes of JSON; b"" where it cannot."""
    if is_ascii:
        return json.dumps(text)[1:-1].encode()
    try:
        return msgspec.json.encode(text)[1:-1]
    except UnicodeEncodeError:
        return b""


def written(folds: Sequence[Fold]) -> str | None:
    """Folds as they are written down: [[at, start, length, is_ascii], ...]; None is none."""
    return wirejson.encode(folds).decode() if folds else None


def read(text: object) -> list[Fold]:
    """Folds that were written down; raises NotJSON."""
    if not text:
        return []
    try:
        return msgspec.json.decode(str(text).encode(), type=list[Fold])
    except msgspec.MsgspecError as error:
        raise wirejson.NotJSON(f"expected folds: {error}") from None
