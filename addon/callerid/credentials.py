"""Secrets in a request, kept out of all that is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from callerid.turn import HeaderList

MASK = "***"
MIN_SECRET = 6  # characters: masking shorter words would eat ordinary text

# Any header whose name says that it holds a secret, whoever's it is.
_SECRET_NAME = re.compile(
    r"auth|api-?key|-key$|^key$|token|cookie|secret|credential|password|signature", re.IGNORECASE
)
# Not secrets, in spite of their names: how many tokens, or the name of a header.
_NO_SECRET = re.compile(r"max-tokens|ratelimit|count-tokens", re.IGNORECASE)
# What keys look like, wherever they stand: vendors' prefixes, JSON web tokens, bearer words.
_SECRET_VALUE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|ghs|glpat|xox[abp]|nvapi|csk|fw|r8)[-_][A-Za-z0-9_-]{8,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9_-]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"
    r"|(?<=Bearer )[^\s\"',;]+"
)


def secrets_in(headers: HeaderList, path: str) -> tuple[str, ...]:
    """The secret texts of a request, the longest first: what nothing written down may hold."""
    secrets = {value.strip() for name, value in headers if _is_secret(name)}
    secrets |= {secret.partition(" ")[2].strip() for secret in secrets}
    secrets |= {value for name, value in _query(path) if _is_secret(name)}
    return tuple(sorted((s for s in secrets if len(s) >= MIN_SECRET), key=len, reverse=True))


def masked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers as they may be written down."""
    return [(name, MASK if _is_secret(name) else masked(value)) for name, value in headers]


def masked_path(path: str) -> str:
    """A path with its query, as it may be written down."""
    path, mark, query = path.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = (name + mark + (MASK if _is_secret(unquote(name)) else v) for name, mark, v in pairs)
    return masked(path + mark + "&".join(shown))


def masked(text: str) -> str:
    """A text without what looks like a key."""
    return _SECRET_VALUE.sub(MASK, text)


def without(text: bytes, secrets: Iterable[str]) -> bytes:
    """Bytes without some secrets, wherever they stand."""
    for secret in secrets:
        text = text.replace(secret.encode("utf-8", "surrogateescape"), MASK.encode())
    return text


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def _query(path: str) -> list[tuple[str, str]]:
    return parse_qsl(path.partition("?")[2], keep_blank_values=True)
