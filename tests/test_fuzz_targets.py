"""`scripts/fuzz`: its targets stand what we have, and what was found once is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.fuzz import __main__ as command
from lab.fuzz import targets
from lab.fuzz.corpus import Corpus
from test_fuzz import ODD, SEEDS

# What was found, by the fuzzer or by looking at what it found, and mended.
FOUND = (
    ("settings", b"\x03profiles:\n p:\n   - ?"),
    ("recording", b'\x00{"t":1,"url":"http://a:b:c/v1/messages","request":{}}\n'),
    ("recording", b'\x00{"sessionId":"s","type":"api-request-shape","shapeHash":"a"}\n'
                  b'{"sessionId":"s","type":"api-request","id":[],"tail":3}\n'),
    ("recording", b'\x00{"sessionId":"s","type":"assistant","requestRef":[],"message":'
                  b'{"id":{},"content":7}}\n{"type":"api-request-blob","message":[]}\n'
                  b'{"type":"api-request"}\n'),
    ("redis", b"\x03$4\r\na\0\0$-1\r\n\0"),
    ("redis", b"\x00" + b"*1\r\n" * 2000),
)  # fmt: skip


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_stands_what_we_have_and_what_is_odd(name: str) -> None:
    for data in (*SEEDS, *ODD):
        for chosen in range(7):
            targets.run(name, bytes([chosen, 1, 0, 7][: targets.LEAST.get(name, 0)]) + data)
    targets.run(name, b"")


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_is_mended(name: str, data: bytes) -> None:
    targets.run(name, data)


def test_the_tests_inputs_are_kept_for_the_targets_that_read_them(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.add_call("/v1/messages?beta=true", b"{}")
    corpus.add("json", b" " * 5000)

    assert [path.read_bytes() for path in (tmp_path / "request").iterdir()] == [b"\0{}"]
    assert len(list((tmp_path / "json").iterdir())) == 1


def test_a_target_is_fuzzed_guided_by_what_it_reaches(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    (tmp_path / "corpus" / "json").mkdir(parents=True)

    ran = command.fuzz("json", 1, tmp_path)

    assert ran.found is None
    assert ran.said == ""
    assert ran.tried > 100
    assert ran.reached > 10
