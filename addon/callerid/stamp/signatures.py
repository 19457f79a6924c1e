"""What of a request is signed: nothing there may be altered, or its upstream refuses it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl

from callerid.turn import Request

# AWS Signature Version 4, in a header or in the query:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
_AWS = re.compile(r"\AAWS4-[A-Z0-9-]+ .*?SignedHeaders=([^,\s]*)", re.DOTALL)
_AWS_QUERY = "x-amz-signedheaders"
# HTTP Message Signatures: https://www.rfc-editor.org/rfc/rfc9421#name-the-signature-input-http-fie
_MESSAGE = "signature-input"
_COMPONENT = re.compile(r'"([^"]+)"')


class Signed(NamedTuple):
    """Whether a request is signed, and the headers that the signature covers, in lower case."""

    is_signed: bool
    headers: frozenset[str]


def signed(request: Request) -> Signed:
    """What a signature on a request covers."""
    covered = [*_by_aws(request), *_by_message(request)]
    names = (name.lower() for names in covered for name in names)
    return Signed(bool(covered), frozenset(names))


def _by_aws(request: Request) -> Iterable[list[str]]:
    if found := _AWS.match(request.header("authorization")):
        yield found[1].split(";")
    if "amz-signedheaders" in request.path.lower():
        for name, value in parse_qsl(request.path.partition("?")[2]):
            if name.lower() == _AWS_QUERY:
                yield value.split(";")


def _by_message(request: Request) -> Iterable[list[str]]:
    if said := request.header(_MESSAGE):
        yield _COMPONENT.findall(said)
