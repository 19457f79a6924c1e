"""Refusals: in the words of each dialect, with the same status and the same message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callerid.turn import Dialect
from callerid.wire import errors
from callerid.wire.errors import Trouble

PATHS = {Dialect.BEDROCK_CONVERSE: "/model/m/converse"}
STATUSES = {
    Trouble.BAD_REQUEST: 400,
    Trouble.GONE: 410,
    Trouble.LIMIT: 429,
    Trouble.UNAVAILABLE: 503,
}


def texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("trouble", Trouble)
@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_can_say_every_trouble(dialect: Dialect, trouble: Trouble) -> None:
    said = errors.said(dialect, PATHS.get(dialect, "/v1/x"), trouble, "too much", 7)

    assert said.status == STATUSES[trouble]
    assert dict(said.headers)["retry-after"] == "7"
    assert dict(said.headers)["content-type"] == "application/json"
    assert "too much" in texts(json.loads(said.body))


def test_without_a_time_none_is_said() -> None:
    for dialect in Dialect:
        said = errors.said(dialect, "/v1/x", Trouble.GONE, "over")
        assert "retry-after" not in dict(said.headers)
        assert b"retryDelay" not in said.body


def test_googles_clients_find_the_time_in_the_body() -> None:
    said = errors.said(Dialect.GEMINI, "/v1beta/x", Trouble.LIMIT, "too much", 7)

    error = json.loads(said.body)["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    (detail,) = error["details"]
    assert detail == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}


def test_bedrock_says_its_errors_itself_whoevers_model_it_is() -> None:
    said = errors.said(Dialect.ANTHROPIC, "/model/claude/invoke", Trouble.LIMIT, "too much")

    assert dict(said.headers)["x-amzn-errortype"] == "ThrottlingException"
    assert json.loads(said.body) == {"message": "too much"}


def test_in_a_socket_an_error_is_an_event_with_status_and_headers() -> None:
    said = errors.frame(Trouble.LIMIT, "too much", 7, "event_1")

    assert said.status == 429
    assert json.loads(said.body) == {
        "type": "error",
        "event_id": "event_1",
        "status": 429,
        "error": {
            "message": "too much",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        },
        "headers": {"retry-after": "7"},
    }
