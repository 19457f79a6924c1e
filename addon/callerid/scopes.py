"""Whose calls belong together: credentials told apart by a digest, so that customers stay apart.

Many credentials are renewed while a session lasts; of those only what stays is digested. Of a JSON
web token (RFC 7519) that is its issuer and subject; of others it is what config/credentials.yaml
says. Where nothing stays, this machine is one customer; behind another's address there may be many.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from hashlib import blake2b
from ipaddress import ip_address
from urllib.parse import parse_qsl

from callerid.settings.tables import CredentialTable
from callerid.turn import HeaderList
from callerid.wire import wirejson

# Who pays: what providers take as a credential. Cookies and proxy passwords are not among them.
HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_QUERY = ("key", "api-key", "api_key")
_WEB_TOKEN = re.compile(r"(?<![\w-])(eyJ[\w-]+)\.([\w-]+)\.[\w-]*")


class Scopes:
    """Names the customer of a request: a digest that says nothing of the credential."""

    def __init__(self, table: CredentialTable, digest_key: bytes) -> None:
        self._renewed = [(row.name, re.compile(row.pattern)) for row in table.renewed]
        self._subjects = [row.claim for row in table.subjects]
        self._digest_key = digest_key

    def share(self, digest_key: bytes) -> None:
        """Go on with a key that others have too, so that all name a customer alike."""
        self._digest_key = digest_key

    def of(self, headers: HeaderList, path: str, address: str) -> str:
        """The scope of a request from an address; "" where it carries no credential."""
        said = [self._lasting(value, address) for value in _credentials(headers, path)]
        if not said:
            return ""
        digest = blake2b("\0".join(said).encode("utf-8", "surrogateescape"), key=self._digest_key)
        return digest.hexdigest()[:24]

    def _lasting(self, credential: str, address: str) -> str:
        """What stays of a credential when it is renewed."""
        for name, pattern in self._renewed:
            if found := pattern.search(credential):
                if pattern.groups:
                    return found[1]
                return name if _is_here(address) else credential
        token = _WEB_TOKEN.search(credential)
        return (self._subject(token[2]) if token else "") or credential

    def _subject(self, payload: str) -> str:
        """Who a JSON web token speaks for; "" where it does not say."""
        try:
            claims = wirejson.decode(binascii.a2b_base64(payload.translate(_URL_SAFE) + "=="))
        except (binascii.Error, wirejson.NotJSON):
            return ""
        said = [wirejson.string(wirejson.at(claims, name)) for name in self._subjects]
        subject = next(filter(None, said), "")
        return f"{wirejson.string(wirejson.at(claims, 'iss'))} {subject}" if subject else ""


def _credentials(headers: HeaderList, path: str) -> Iterable[str]:
    found = {name.lower(): value for name, value in reversed(headers)}
    yield from (found[name] for name in HEADERS if found.get(name))
    query = parse_qsl(path.partition("?")[2], keep_blank_values=True)
    yield from (value for name, value in query if value and name.lower() in _QUERY)


def _is_here(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


_URL_SAFE = str.maketrans("-_", "+/")
