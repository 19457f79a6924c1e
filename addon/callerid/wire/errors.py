"""Errors as providers say them: what a client that speaks a dialect understands.

A provider refuses a call that would stream in the same way, before the stream begins.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from callerid.turn import Dialect
from callerid.wire import wirejson


class Trouble(StrEnum):
    """Why a call is refused."""

    BAD_REQUEST = "bad_request"  # 400
    GONE = "gone"  # 410: asking again is no use
    LIMIT = "limit"  # 429
    UNAVAILABLE = "unavailable"  # 503


STATUS = {
    Trouble.BAD_REQUEST: 400,
    Trouble.GONE: 410,
    Trouble.LIMIT: 429,
    Trouble.UNAVAILABLE: 503,
}

# https://docs.anthropic.com/en/api/errors
_ANTHROPIC = {
    Trouble.BAD_REQUEST: "invalid_request_error",
    Trouble.GONE: "not_found_error",
    Trouble.LIMIT: "rate_limit_error",
    Trouble.UNAVAILABLE: "overloaded_error",
}
# https://platform.openai.com/docs/guides/error-codes
_OPENAI = {
    Trouble.BAD_REQUEST: ("invalid_request_error", "invalid_value"),
    Trouble.GONE: ("invalid_request_error", "session_closed"),
    Trouble.LIMIT: ("rate_limit_error", "rate_limit_exceeded"),
    Trouble.UNAVAILABLE: ("server_error", "service_unavailable"),
}
# https://cloud.google.com/apis/design/errors
_GOOGLE = {
    Trouble.BAD_REQUEST: "INVALID_ARGUMENT",
    Trouble.GONE: "FAILED_PRECONDITION",
    Trouble.LIMIT: "RESOURCE_EXHAUSTED",
    Trouble.UNAVAILABLE: "UNAVAILABLE",
}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
_AMAZON = {
    Trouble.BAD_REQUEST: "ValidationException",
    Trouble.GONE: "ResourceNotFoundException",
    Trouble.LIMIT: "ThrottlingException",
    Trouble.UNAVAILABLE: "ServiceUnavailableException",
}


class Said(NamedTuple):
    """A refusal on the wire; the headers' names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def said(
    dialect: Dialect, path: str, trouble: Trouble, message: str, retry_after: int | None = None
) -> Said:
    """A refusal in a dialect; `retry_after` are seconds.

    Bedrock's InvokeModel, told by its path, speaks its models' dialects, but says errors itself.
    """
    headers = [("content-type", "application/json")]
    if dialect is Dialect.BEDROCK_CONVERSE or path.startswith("/model/"):
        headers.append(("x-amzn-errortype", _AMAZON[trouble]))
        value: object = {"message": message}
    else:
        value = _value(dialect, trouble, message, retry_after)
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Said(STATUS[trouble], tuple(headers), wirejson.encode(value))


def frame(trouble: Trouble, message: str, retry_after: int | None = None, id: str = "") -> Said:
    """A refusal in a WebSocket: the body is a frame; `id` is that of the event.

    Responses has the status beside the error, and Codex reads headers there; Realtime has neither,
    but the event's id. https://platform.openai.com/docs/api-reference/realtime-server-events/error
    """
    headers = () if retry_after is None else (("retry-after", str(retry_after)),)
    value = {
        "type": "error",
        "event_id": id,
        "status": STATUS[trouble],
        **_openai(trouble, message),
    }
    if headers:
        value["headers"] = dict(headers)
    return Said(STATUS[trouble], headers, wirejson.encode(value))


def _value(dialect: Dialect, trouble: Trouble, message: str, retry_after: int | None) -> object:
    if dialect is Dialect.ANTHROPIC:
        return {"type": "error", "error": {"type": _ANTHROPIC[trouble], "message": message}}
    if dialect is Dialect.GEMINI:
        error = {"code": STATUS[trouble], "message": message, "status": _GOOGLE[trouble]}
        if retry_after is None:
            return {"error": error}
        # Google's clients look for this, not for the header.
        wait = {"@type": _RETRY_INFO, "retryDelay": f"{retry_after}s"}
        return {"error": {**error, "details": [wait]}}
    if dialect in (Dialect.COHERE, Dialect.COHERE_V1):
        return {"message": message}
    if dialect is Dialect.OLLAMA:
        return {"error": message}
    return _openai(trouble, message)


def _openai(trouble: Trouble, message: str) -> dict[str, object]:
    type, code = _OPENAI[trouble]
    return {"error": {"message": message, "type": type, "param": None, "code": code}}
