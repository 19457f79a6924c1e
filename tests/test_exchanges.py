"""Recorded exchanges with providers, each with what a plain parse of it says: we read the same.

They lie beside the checkout, in shared/corpora; without them there is nothing to compare.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lab import exchanges
from lab.exchanges import Difference

FOLDER = Path(__file__).parents[2] / "shared"
AGREEMENT = 0.995


def test_recorded_exchanges_are_read_as_they_were_and_a_difference_has_a_reason() -> None:
    files = exchanges.files_in(FOLDER)
    if not files:
        pytest.skip(f"there are no recorded exchanges: {FOLDER / exchanges.PART} is missing")
    reader = exchanges.new_reader()
    total, differing = 0, Counter[str]()
    unexplained: list[Difference] = []
    for exchange in exchanges.exchanges(files):
        total += 1
        for difference in exchanges.compare(exchange, exchanges.what_is_read(exchange, reader)):
            differing[difference.source] += 1
            if not exchanges.reason(difference):
                unexplained.append(difference)

    assert total > 3_000
    assert 1 - len(differing) / total >= AGREEMENT, unexplained[:20]
    assert not unexplained


def test_an_exchange_is_read_like_a_call_on_the_wire() -> None:
    exchange = {
        "source": "ours",
        "path": "/v1/chat/completions",
        "request_body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        "status": 200,
        "response_headers": {"Content-Type": "application/json", "Content-Encoding": "br"},
        "response_encoding": "text",
        "response_body": '{"model": "m-1", "choices": [{"finish_reason": "stop", "message":'
        ' {"role": "assistant", "content": "Hello"}}], "usage": {"prompt_tokens": 3}}',
        "expected": {
            "request_model": "m",
            "model": "m-1",
            "stop_reason": "length",
            "input_tokens": 3,
            "output_tokens": None,
            "tool_calls": [],
            "text_prefix": "Hello",
            "text_len": 5,
        },
    }

    read = exchanges.what_is_read(exchange, exchanges.new_reader())

    assert exchanges.compare(exchange, read) == [
        Difference("ours", "stop reason", "length", "stop")
    ]
    assert exchanges.untold(exchange) == ["output tokens"]


def test_a_difference_that_nobody_has_looked_into_has_no_reason() -> None:
    assert exchanges.reason(Difference("ours", "text", "a", "b")) == ""
