"""Secrets in a request, kept out of all that is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from callerid.turn import HeaderList

MASK = "***"
_MASK = MASK.encode()
MIN_SECRET = 16  # characters: shorter ones are words, as the dummy keys of local servers ("ollama")

# Any header whose name says that it holds a secret, whoever's it is.
_SECRET_NAME = re.compile(
    r"auth|api-?key|-v?key$|-vk$|^key$|token|cookie|secret|credential|password|signature",
    re.IGNORECASE,
)
# Not secrets, in spite of their names: how many tokens, or the name of a header.
_NO_SECRET = re.compile(r"max-tokens|ratelimit|count-tokens", re.IGNORECASE)
# A text (or a list of them) in JSON whose name ends in a word for a secret: the credentials that an
# agent hands on to MCP servers and gateways. Not *_key: prompt_cache_key names a session.
_WORDS = ("authorization", "api_key", "api-key", "apikey", "virtual_key", "token", "secret",
          "password", "cookie", "credential")  # fmt: skip
_SECRET_MEMBER = re.compile(
    rb'"(?=\s*:\s*["[])(?:%b)(\s*:\s*)(?:"(?:[^"\\]|\\.)*"|\[[^][{}]*\])'
    % "|".join(f'(?<={word}")' for word in _WORDS).encode(),
    re.IGNORECASE,
)
_MASKED_MEMBER = rb'"\1"%b"' % MASK.encode()
_SECRET_MEMBER_NAME = re.compile(rf"(?:{'|'.join(_WORDS)})\Z", re.IGNORECASE)
REMEMBERED = 2048  # names and values of headers: nearly all come again
MAX_SETTING = 4096  # bytes of a member of a body; a longer one is what was said
# What keys look like, wherever they stand: vendors' prefixes, JSON web tokens, bearer words.
_SECRET_VALUE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|ghs|glpat|xox[abp]|nvapi|csk|fw|r8)[-_][A-Za-z0-9_-]{8,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9_-]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,1000}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"
    r"|(?<=Bearer )[^\s\"',;\\]+"
)
# One of these stands in each of them: to look for them takes a tenth of the time.
_KEY_MARK = re.compile(
    r"[-_](?:(?<=[spr]k.)|(?<=(?:hf|fw|r8).)|(?<=(?:xai|gh[pos]).)|(?<=xox[abp].)"
    r"|(?<=(?:glpat|nvapi).))"
)
_KEY_MARKS = ("AIza", "ya29.", "AKIA", "ASIA", "eyJ", "Bearer ")


def secrets_in(headers: HeaderList, path: str) -> tuple[str, ...]:
    """The secret texts of a request, the longest first: what nothing written down may hold."""
    secrets = {value.strip() for name, value in headers if _is_secret(name)}
    secrets |= {secret.partition(" ")[2].strip() for secret in secrets}
    if "?" in path:
        secrets |= {value for name, value in _query(path) if _is_secret(name)}
    return tuple(sorted(filter(_looks_random, secrets), key=len, reverse=True))


def masked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers as they may be written down."""
    return [_masked_header(*header) for header in headers]


@lru_cache(maxsize=REMEMBERED)
def _masked_header(name: str, value: str) -> tuple[str, str]:
    return name, MASK if _is_secret(name) else _masked_value(value)


@lru_cache(maxsize=REMEMBERED)
def _masked_value(value: str) -> str:
    if "{" not in value:
        return masked(value)
    shown = masked_json(value.encode("utf-8", "surrogateescape"))  # some gateways take JSON
    return masked(shown.decode("utf-8", "surrogateescape"))


def masked_json(raw: bytes) -> bytes:
    """JSON without the texts whose names say that they are secret, at whatever depth."""
    return _SECRET_MEMBER.sub(_MASKED_MEMBER, raw)


def masked_member(name: str, raw: bytes) -> bytes:
    """A member of a body, still JSON, as it may be written down."""
    if len(raw) <= MAX_SETTING:
        raw = masked(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    before = b'"' + name.encode("utf-8", "replace") + b'":'
    return masked_json(before + raw)[len(before) :]


@lru_cache(maxsize=REMEMBERED)
def is_secret_member(name: str) -> bool:
    """Whether the name of a member of JSON says that the text in it is secret."""
    return bool(_SECRET_MEMBER_NAME.search(name))


def masked_user_agent(user_agent: str) -> str:
    """What a client calls itself, as it may be written down."""
    return _masked_value(user_agent)


def masked_path(path: str) -> str:
    """A path with its query, as it may be written down."""
    path, mark, query = path.partition("?")
    if not mark:
        return _masked_value(path)
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = (name + mark + (MASK if _is_secret(unquote(name)) else v) for name, mark, v in pairs)
    return masked(path + mark + "&".join(shown))


def masked(text: str) -> str:
    """A text without what looks like a key."""
    if _KEY_MARK.search(text) or any(mark in text for mark in _KEY_MARKS):
        return _SECRET_VALUE.sub(MASK, text)
    return text


def without(text: bytes, secrets: tuple[str, ...]) -> bytes:
    """Bytes without some secrets, wherever they stand."""
    if secrets:
        all, shortest = _encoded(secrets)
        for secret in shortest:
            if secret in text:
                for each in all:
                    text = text.replace(each, _MASK)
    return text


@lru_cache(maxsize=REMEMBERED)
def _encoded(secrets: tuple[str, ...]) -> tuple[list[bytes], list[bytes]]:
    """Secrets as bytes, and those of them that hold no other: where none of these is, none is."""
    all = [secret.encode("utf-8", "surrogateescape") for secret in secrets]
    return all, [one for one in all if not any(o in one for o in all if o is not one)]


@lru_cache(maxsize=REMEMBERED)
def _looks_random(secret: str) -> bool:
    """Whether a credential is nothing that anybody says; to mask words would garble a text."""
    return any(map(_is_random, secret.split()))


def _is_random(word: str) -> bool:
    if len(word) < MIN_SECRET:
        return bool(_SECRET_VALUE.fullmatch(word))
    return any(map(str.isdigit, word)) or not (word.islower() or word.isupper())


@lru_cache(maxsize=REMEMBERED)
def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def _query(path: str) -> list[tuple[str, str]]:
    return parse_qsl(path.partition("?")[2], keep_blank_values=True)
