"""Credentials: masked wherever they stand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid import credentials
from callerid.credentials import MASK

KEYS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=15, max_size=40).map(
    "7{}".format
)


# What may not be written down

SECRET = "planted-0123456789"
SECRET_HEADERS = (
    "Authorization",
    "Proxy-Authorization",
    "X-Api-Key",
    "api-key",
    "x-goog-api-key",
    "Cookie",
    "Set-Cookie",
    "X-Amz-Security-Token",
    "X-Session-Token",
    "Helicone-Auth",
    "cf-aig-authorization",
    "x-portkey-api-key",
    "x-my-secret",
    "x-client-password",
)


@pytest.mark.parametrize("name", SECRET_HEADERS)
def test_a_header_that_names_a_secret_is_masked(name: str) -> None:
    headers = [(name, f"Bearer {SECRET}")]

    assert credentials.masked_headers(headers) == [(name, MASK)]
    assert credentials.secrets_in(headers, "/") == (f"Bearer {SECRET}", SECRET)


@pytest.mark.parametrize(
    "header",
    [
        ("content-type", "application/json"),
        ("x-session-id", "ses_0123456789"),
        ("x-claude-code-agent-id", "a0123456789abcdef"),
        ("anthropic-ratelimit-tokens-remaining", "1000"),
        ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T00:00:00Z"),
        ("x-ratelimit-remaining-tokens", "1000"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("user-agent", "task-oriented-agent/1.0 (risk-averse-programming)"),
    ],
    ids=lambda header: header[0],
)
def test_other_headers_are_shown(header: tuple[str, str]) -> None:
    assert credentials.masked_headers([header]) == [header]
    assert credentials.secrets_in([header], "/") == ()


KEYS_THAT_SHOW = (
    "sk-ant-api03-0123456789abcdef",
    "sk-proj-0123456789abcdef",
    "gsk_0123456789abcdef",
    "xai-0123456789abcdef",
    "hf_0123456789abcdef",
    "ghp_0123456789abcdef",
    "AIzaSy0123456789abcdef0123456789abcdef",
    "ya29.0123456789abcdef",
    "AKIA0123456789ABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
)


@pytest.mark.parametrize("key", KEYS_THAT_SHOW)
def test_what_looks_like_a_key_is_masked_wherever_it_stands(key: str) -> None:
    for around in ("{}", "my key is {}.", '"{}"', "a={}&b=1", "Bearer {}", "<{}>"):
        shown = credentials.masked(around.format(key))
        assert key not in shown
        assert MASK in shown
    assert credentials.masked_headers([("x-note", f"use {key}")]) == [("x-note", f"use {MASK}")]


def test_what_a_bearer_bears_is_masked_whatever_it_looks_like() -> None:
    assert credentials.masked('"Bearer abc", "x"') == f'"Bearer {MASK}", "x"'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/m?beta=true", "/v1/m?beta=true"),
        (f"/v1/m?alt=sse&key={SECRET}&n=1", f"/v1/m?alt=sse&key={MASK}&n=1"),
        (f"/v1/m?%6Bey={SECRET}", f"/v1/m?%6Bey={MASK}"),
        (f"/v1/m?access_token={SECRET}", f"/v1/m?access_token={MASK}"),
        (f"/v1/m?X-Amz-Signature={SECRET}", f"/v1/m?X-Amz-Signature={MASK}"),
        (f"/key/{KEYS_THAT_SHOW[0]}/v1", f"/key/{MASK}/v1"),
    ],
)
def test_a_path_is_shown_without_its_secrets(path: str, expected: str) -> None:
    assert credentials.masked_path(path) == expected


@make.QUICK
@given(key=KEYS, before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_a_secret_of_a_request_is_found_nowhere(key: str, before: bytes, after: bytes) -> None:
    places = [
        ((("authorization", f"Bearer {key}"),), "/"),
        ((("x-api-key", key),), "/"),
        ((), f"/v1?key={key}"),
    ]
    for headers, path in places:
        text = before + key.encode() + b" and " + key.encode() + after

        shown = credentials.without(text, credentials.secrets_in(headers, path))

        assert key.encode() not in shown
        assert shown.count(MASK.encode()) >= 2


def test_longer_secrets_go_before_the_shorter_ones_within_them() -> None:
    short, long = "abcdef0123456789", "abcdef0123456789abc"
    headers = [("x-api-key", short), ("x-secret", long)]

    assert credentials.secrets_in(headers, "/") == (long, short)


@pytest.mark.parametrize(
    "said", ["dummy", "Bearer ollama", "Bearer dummy-key", "oauth2", "no-key-is-required-here"]
)
def test_words_are_no_secrets_that_a_text_may_not_hold(said: str) -> None:
    headers = [("authorization", said), ("x-auth-type", said)]

    assert credentials.secrets_in(headers, "/?key=a") == ()
    assert credentials.masked_headers(headers) == [("authorization", MASK), ("x-auth-type", MASK)]


@pytest.mark.parametrize("said", ["sk-short-12", f"Bearer {SECRET}", "dGhpc0lzQVNlY3JldA"])
def test_what_nobody_says_is_a_secret_wherever_it_stands(said: str) -> None:
    assert said.split()[-1] in credentials.secrets_in([("authorization", said)], "/")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a":[{"authorization_token":"x"}]}', b'{"a":[{"authorization_token":"***"}]}'),
        (b'{"headers": {"Authorization" : "B \\" x"}}', b'{"headers": {"Authorization" : "***"}}'),
        (b'{"X-Api-Key":["x","y"],"n":1}', b'{"X-Api-Key":"***","n":1}'),
        (b'{"clientSecret":"x","apiKey":"y"}', b'{"clientSecret":"***","apiKey":"***"}'),
    ],
)
def test_what_json_names_a_secret_is_masked_at_any_depth(raw: bytes, shown: bytes) -> None:
    assert credentials.masked_json(raw) == shown
    assert json.loads(shown)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"max_tokens":9,"tokens":"many","prompt_cache_key":"sess_1","tokenizer":"x"}',
        b'{"properties":{"password":{"type":"string","description":"a \\"token\\": x"}}}',
        b'"token"',
    ],
)
def test_other_json_is_shown(raw: bytes) -> None:
    assert credentials.masked_json(raw) == raw


def test_a_header_that_holds_json_is_shown_without_its_secrets() -> None:
    config = '{"provider":"azure-openai","api_key":"0123456789abcdef"}'

    assert credentials.masked_headers([("x-portkey-config", config)]) == [
        ("x-portkey-config", '{"provider":"azure-openai","api_key":"***"}')
    ]


@make.QUICK
@given(value=make.JSON, name=st.sampled_from(["api_key", "metadata", "x"]))
def test_a_member_is_still_json_when_it_is_masked(value: object, name: str) -> None:
    json.loads(credentials.masked_member(name, make.encoded({"token": "Bearer x", "v": value})))
