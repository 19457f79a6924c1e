"""Who may see the pages: this machine under its own names, or whoever has the token."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from callerid.settings.values import AdminSettings

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Asked(NamedTuple):
    """A request for a page; headers "" where they are missing."""

    path: str  # with its query
    host: str  # the Host header
    accept: str = ""
    authorization: str = ""
    is_local: bool = True
    cookie: str = ""  # the token, as a browser keeps it
    origin: str = ""  # the page that a browser says the request comes from


class Access:
    """Lets in, or says why not."""

    def __init__(self, admin: AdminSettings) -> None:
        self._admin = admin

    def has_token(self, said: str) -> bool:
        """Whether this is the token, where there is one."""
        token = self._admin.token
        return bool(token) and hmac.compare_digest(said.encode(), token.encode())

    def refusal(self, asked: Asked) -> str:
        """Why somebody may not see the pages; "" where he may."""
        if self._admin.token:
            query = parse_qs(urlsplit(asked.path).query).get("token", [""])[0]
            said = query or asked.authorization.removeprefix("Bearer ").strip() or asked.cookie
            if self.has_token(said):
                return ""
            return "expected the token: Authorization: Bearer TOKEN, or ?token=TOKEN"
        if not asked.is_local:
            return "these pages are for this machine only; set admin.token to see them from others"
        return self._refused_name(asked)

    @property
    def form(self) -> str:
        """What a form of ours carries, and nobody knows who has not seen a page; "" is no form."""
        token = self._admin.token
        return hmac.digest(token.encode(), b"callerid form", "sha256").hex() if token else ""

    def form_refusal(self, asked: Asked, carried: str) -> str:
        """Why a form of somebody who may see the pages is not taken; "" where it is.

        A browser sends the token's cookie along with forms of others too: ours come from the page
        itself, under a name that nobody else can lead to us, and carry `form`.
        """
        if not self.form:
            return (
                "corrections are taken from pages only where there is a token (admin.token, or "
                "callerid explore --correct); the commands callerid rename, merge, split and link "
                "do the same"
            )
        if asked.is_local and not _is_address(asked.host) and (why := self._refused_name(asked)):
            return why
        if asked.origin not in (f"http://{asked.host}", f"https://{asked.host}"):
            return f"Origin {asked.origin!r} is not ours: expected a page of {asked.host}"
        if not hmac.compare_digest(carried.encode(), self.form.encode()):
            return "this form is of an earlier token: load its page again"
        return ""

    def _refused_name(self, asked: Asked) -> str:
        name = urlsplit(f"//{asked.host}").hostname or ""
        if not name or name not in (*LOCAL_NAMES, self._admin.host, self._admin.magic_host):
            return f"Host {asked.host!r} is not ours: expected one of {', '.join(LOCAL_NAMES)}"
        return ""


def _is_address(host: str) -> bool:
    """Whether a Host is no name: then nobody can have led a browser to us by one."""
    try:
        return bool(ip_address(urlsplit(f"//{host}").hostname or ""))
    except ValueError:
        return False
