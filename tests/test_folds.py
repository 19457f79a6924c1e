"""A message's JSON is the same with its words folded out and back in, whoever wrote it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.traces import folds, pack
from callerid.traces.folds import Line
from callerid.wire import wirejson

TEXTS = st.text(max_size=120) | st.sampled_from(["x" * 60, 'ä"\\\n' * 20, "\u2028\x7f" * 30])


@given(texts=st.lists(TEXTS, max_size=4), is_ascii=st.booleans(), is_spaced=st.booleans())
@make.THOROUGH
def test_what_is_folded_is_unfolded(texts: list[str], is_ascii: bool, is_spaced: bool) -> None:
    separators = None if is_spaced else (",", ":")
    content = [{"type": "text", "text": text} for text in texts]
    raw = json.dumps(content, ensure_ascii=is_ascii, separators=separators).encode(
        "utf-8", "surrogatepass"
    )
    lines = [Line(text, is_text=True) for text in texts if text]

    body, made = folds.folded(raw, lines)

    text = "\n".join(line.text for line in lines)
    assert folds.unfolded(body, folds.read(folds.written(made)), text) == raw


@given(raw=st.binary(max_size=200), texts=st.lists(TEXTS, max_size=3))
@make.QUICK
def test_bytes_that_are_no_json_are_left_as_they_are(raw: bytes, texts: list[str]) -> None:
    body, made = folds.folded(raw, [Line(text, is_text=True) for text in texts])

    assert folds.unfolded(body, made, "\n".join(texts)) == raw


def test_what_is_left_is_json_without_the_words() -> None:
    words = "A sentence that is said in more than forty letters."
    raw = json.dumps({"role": "user", "content": words}).encode()

    body, made = folds.folded(raw, [Line(words, is_text=True)])

    assert json.loads(body) == {"role": "user", "content": ""}
    assert made == [(body.index(b'""') + 1, 0, len(words), False)]


def test_folds_that_are_broken_say_so() -> None:
    with pytest.raises(wirejson.NotJSON, match="expected folds"):
        folds.read("[[1]]")


@given(known=st.binary(max_size=300), plain=st.binary(max_size=300), cut=st.integers(0, 300))
@make.QUICK
def test_what_is_packed_is_unpacked(known: bytes, plain: bytes, cut: int) -> None:
    alike = known[:cut] + plain + known[cut:]

    assert pack.unpacked(pack.packed(plain)) == plain
    assert pack.unpacked(pack.packed_against(known, alike), known) == alike


def test_what_was_packed_against_something_else_says_so() -> None:
    packed = pack.packed(b"a" * 100)

    with pytest.raises(pack.NotPacked):
        pack.unpacked(packed[:-3])
