"""Scopes: customers are told apart, and one who renews a credential stays who he is."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.scopes import Scopes
from callerid.settings.load import load
from callerid.turn import HeaderList

DIGEST_KEY = b"a key of this proxy"
KEYS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=40)
RENEWED = load().credentials


def scope(
    headers: HeaderList = (), path: str = "/", digest_key: bytes = DIGEST_KEY, address: str = ""
) -> str:
    return Scopes(RENEWED, digest_key).of(headers, path, address)


def bearer(key: str) -> HeaderList:
    return (("Authorization", f"Bearer {key}"),)


def signed(access_key: str, signature: str) -> HeaderList:
    said = f"AWS4-HMAC-SHA256 Credential={access_key}/20261121/us/bedrock/aws4_request, "
    return (("Authorization", f"{said}SignedHeaders=host;x-amz-date, Signature={signature}"),)


@make.QUICK
@given(one=KEYS, other=KEYS)
def test_a_scope_is_one_credentials_alone(one: str, other: str) -> None:
    assert (scope(bearer(one)) == scope(bearer(other))) == (one == other)


@make.QUICK
@given(KEYS)
def test_a_scope_says_nothing_of_the_credential(key: str) -> None:
    said = scope(bearer(key))

    assert len(said) == 24
    assert key not in said
    assert said != scope(bearer(key), digest_key=b"a key of another proxy")


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "api-key", "x-goog-api-key"])
def test_each_header_that_providers_take_is_a_credential(name: str) -> None:
    assert scope([(name, "k1")]) == scope([(name.swapcase(), "k1")]) != ""
    assert scope([(name, "k1")]) != scope([(name, "k2")])


@pytest.mark.parametrize("name", ["key", "api-key", "api_key", "Key"])
def test_a_key_in_the_query_is_a_credential(name: str) -> None:
    assert scope(path=f"/v1?alt=sse&{name}=k1") != ""
    assert scope(path=f"/v1?{name}=k1") != scope(path=f"/v1?{name}=k2")


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ((), "/v1/messages"),
        ([("cookie", "session=s"), ("proxy-authorization", "Basic eDp5")], "/"),
        ([("authorization", "")], "/"),
        ((), "/v1?alt=sse&key"),
        ((), "/v1?key="),
    ],
)
def test_without_a_credential_the_scope_is_nobodys(headers: HeaderList, path: str) -> None:
    assert scope(headers, path) == ""


def test_the_order_and_the_company_of_headers_do_not_matter() -> None:
    one = [("accept", "*/*"), ("x-api-key", "a"), ("authorization", "b")]

    assert scope(one) == scope([*reversed(one), ("cookie", "c=d")])


def test_of_several_values_the_first_counts() -> None:
    assert scope([("x-api-key", "a"), ("X-Api-Key", "b")]) == scope([("x-api-key", "a")])


def test_a_signature_that_is_new_each_time_is_no_new_customer() -> None:
    assert scope(signed("AKIAONE", "s1")) == scope(signed("AKIAONE", "s2"))
    assert scope(signed("AKIAONE", "s1")) != scope(signed("AKIATWO", "s1"))


# Credentials that are renewed


def web_token(claims: Any, signature: str = "c2ln") -> HeaderList:
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    packed = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return bearer(".".join([*(part.rstrip("=") for part in packed), signature]))


def test_a_web_token_is_its_issuer_and_subject() -> None:
    ada = {"iss": "https://auth.example", "sub": "ada \N{SNOWMAN}", "exp": 1}

    assert scope(web_token(ada)) == scope(web_token(ada | {"exp": 2}, "bmV3"))
    assert scope(web_token(ada)) != scope(web_token(ada | {"sub": "bob"}))
    assert scope(web_token(ada)) != scope(web_token(ada | {"iss": "https://other.example"}))


def test_a_web_token_that_a_client_signs_itself_is_its_key() -> None:
    one, renewed = {"api_key": "id1", "exp": 1}, {"api_key": "id1", "exp": 2}

    assert scope(web_token(one)) == scope(web_token(renewed, "bmV3"))
    assert scope(web_token(one)) != scope(web_token({"api_key": "id2", "exp": 1}))


@pytest.mark.parametrize("claims", [{"exp": 1}, {"sub": ""}, {"sub": 7}, [], "ada", None])
def test_a_web_token_that_names_nobody_is_a_credential_like_others(claims: Any) -> None:
    assert scope(web_token(claims)) == scope(web_token(claims)) != ""
    assert scope(web_token(claims)) != scope(web_token(claims, "bmV3"))


def test_what_only_looks_like_a_web_token_is_a_credential_like_others() -> None:
    assert scope(bearer("eyJhbGci.%%%.sig")) != scope(bearer("eyJhbGci.%%%.gis"))
    assert scope(bearer("eyJhbGci.bm8gSlNPTg.a")) != scope(bearer("eyJhbGci.bm8gSlNPTg.b"))


@pytest.mark.parametrize(
    ("one", "renewed"),
    [
        (bearer("sk-ant-oat01-aaaa"), bearer("sk-ant-oat01-bbbb")),
        (bearer("ya29.aaaa"), bearer("ya29.bbbb")),
        (signed("ASIAONE", "s1"), signed("ASIATWO", "s2")),
    ],
)
def test_a_credential_of_which_nothing_stays_is_this_machines_or_one_of_its_own(
    one: HeaderList, renewed: HeaderList
) -> None:
    for here in ("127.0.0.1", "::1"):
        assert scope(one, address=here) == scope(renewed, address=here) != ""
    for elsewhere in ("10.0.0.7", "", "::ffff:10.0.0.7", "nowhere"):
        assert scope(one, address=elsewhere) != scope(renewed, address=elsewhere)


def test_a_renewed_token_keeps_the_part_that_names_the_account() -> None:
    first, second = bearer("tid=a1;exp=1;sku=x:mac"), bearer("tid=a1;exp=2;sku=x:cam")

    assert scope(first, address="10.0.0.7") == scope(second, address="10.0.0.8")
    assert scope(first) != scope(bearer("tid=b2;exp=1;sku=x:mac"))


def test_a_key_that_is_not_renewed_is_the_same_on_every_machine() -> None:
    key = bearer("sk-ant-api03-aaaa")

    assert scope(key, address="10.0.0.7") == scope(key, address="10.0.0.8")
