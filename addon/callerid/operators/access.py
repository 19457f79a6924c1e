"""Who may see the pages: this machine under its own names, or whoever has the token."""

from __future__ import annotations

import hmac
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
        name = urlsplit(f"//{asked.host}").hostname or ""
        if not name or name not in (*LOCAL_NAMES, self._admin.host, self._admin.magic_host):
            return f"Host {asked.host!r} is not ours: expected one of {', '.join(LOCAL_NAMES)}"
        return ""
