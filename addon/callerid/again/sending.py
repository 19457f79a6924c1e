"""Sends a request through a proxy to the letter, and reads its reply as it comes."""

from __future__ import annotations

import base64
import http.client
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from callerid.again.rebuild import Prepared
from callerid.archive import calls
from callerid.turn import Reply
from callerid.wire.bodies import BadEncoding
from callerid.wire.parse import ReplyReader

SECONDS = 600.0  # of silence; models think for long
_PIECE = 1 << 16

Headers = tuple[tuple[str, str], ...]


class CannotSend(RuntimeError):
    """A request that did not arrive, or whose reply broke off; the message says why."""


class Answer(NamedTuple):
    """What came back, and when: seconds from the request on (None: not a byte came)."""

    status: int
    headers: dict[str, str]
    reply: Reply
    first_byte: float | None
    seconds: float


def send(
    prepared: Prepared, headers: Headers, proxy: str, authority: Path | None,
    tell: Callable[[str], None] = lambda text: None,
) -> Answer:  # fmt: skip
    """Send a request, and tell the words of the reply as they come; raises CannotSend.

    `headers` are those beside the request's own. `authority` is the certificate of the proxy.
    """
    connection, target, more = _connection(prepared.url, proxy, authority)
    sent = dict((*prepared.headers, *headers, *more))
    began = time.monotonic()
    try:
        connection.request("POST", target, prepared.body, sent)
        response = connection.getresponse()
        back = tuple((name.lower(), value) for name, value in response.getheaders())
        reader = ReplyReader(prepared.dialect, back, calls.reader())
        first = _read(response, reader, began, tell)
        reply = reader.finish(response.status)
    except (OSError, http.client.HTTPException, BadEncoding, ValueError) as error:
        where = f"{prepared.facts.host} by {proxy}" if proxy else prepared.facts.host
        raise CannotSend(f"{where}: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    return Answer(response.status, dict(back), reply, first, time.monotonic() - began)


def _read(
    response: http.client.HTTPResponse, reader: ReplyReader, began: float,
    tell: Callable[[str], None],
) -> float | None:  # fmt: skip
    first, told = None, 0
    while piece := response.read1(_PIECE):
        first = time.monotonic() - began if first is None else first
        reader.feed(piece)
        text = words(reader.reply(response.status))
        if len(text) > told:
            tell(text[told:])
            told = len(text)
    return first


def words(reply: Reply) -> str:
    """The words of a reply."""
    return "".join(message.text for message in reply.messages)


def _connection(
    url: str, proxy: str, authority: Path | None
) -> tuple[http.client.HTTPConnection, str, Headers]:
    """A connection that leads to a URL, what to ask for in it, and what to tell the proxy."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    path = url.partition(parts.netloc)[2] or "/"
    way = urlsplit(proxy if "//" in proxy else f"http://{proxy}") if proxy else parts
    first, port = way.hostname or "", way.port or (443 if way.scheme == "https" else 80)
    login = _login(proxy)
    if not is_tls:
        plain = http.client.HTTPConnection(first, port, timeout=SECONDS)
        return plain, url if proxy else path, login
    context = ssl.create_default_context()
    if authority is not None and authority.exists():
        context.load_verify_locations(authority)
    secure = http.client.HTTPSConnection(first, port, timeout=SECONDS, context=context)
    if proxy:
        secure.set_tunnel(host, parts.port or 443, dict(login))
    return secure, path, ()


def _login(proxy: str) -> Headers:
    parts = urlsplit(proxy)
    if not parts.username:
        return ()
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return (("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}"),)
