"""The port beside the proxy at which the pages and the explorer answer, in threads of its own."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from urllib.parse import quote, urlencode

from flask import Flask, Response, redirect, request
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response as AnyResponse

from callerid.explorer.app import Explorer
from callerid.operators.access import Access, Asked
from callerid.operators.pages import PATHS, Pages

POLL_SECONDS = 0.1  # how soon it sees that it is closed, which the proxy waits for
MOST_FORM_BYTES = 64 << 10
_READING = ("GET", "HEAD", "OPTIONS")
_COOKIE = "callerid-token"  # and the port: browsers send a host's cookies to all of its ports


class _Quiet(WSGIRequestHandler):
    """Leaves mitmproxy's log to mitmproxy."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


class Server:
    """Serves pages and explorer until it is closed; raises OSError where the port is taken."""

    def __init__(
        self, pages: Pages | None, host: str, port: int, explorer: Explorer | None = None,
        access: Access | None = None,
    ) -> None:  # fmt: skip
        access = access or (pages.access if pages else None)
        assert access is not None, "somebody must say who may see the pages"
        self._explorer = explorer
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listening:  # werkzeug would end the program if it failed
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen()
            self.port: int = listening.getsockname()[1]
            self._server = make_server(
                host, self.port, app_of(access, pages, explorer), threaded=True,
                request_handler=_Quiet, fd=listening.fileno(),
            )  # fmt: skip
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="callerid-pages",
            daemon=True,
        ).start()  # fmt: skip

    def close(self) -> None:
        """Stop serving."""
        if self._explorer is not None:
            self._explorer.close()
        self._server.shutdown()
        self._server.server_close()


def app_of(access: Access, pages: Pages | None, explorer: Explorer | None) -> Flask:
    """What is served: everything, for those who may see it."""
    app = Flask("callerid", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_FORM_BYTES

    @app.before_request
    def refuse() -> AnyResponse | None:
        asked = _asked()
        if refusal := access.refusal(asked):
            if pages is not None and request.path in PATHS:
                return None  # they say it themselves
            return _refused(refusal)
        is_form = request.method not in _READING and request.url_rule is not None
        if is_form and (refusal := access.form_refusal(asked, request.form.get("form", ""))):
            return _refused(refusal)
        if request.method == "GET" and access.has_token(request.args.get("token", "")):
            return _keep_token() if request.path not in PATHS else None
        return None

    if pages is not None:
        _offer(app, pages)
    if explorer is not None:
        app.register_blueprint(explorer.blueprint(access.form))
    return app


def _refused(words: str) -> Response:
    return Response(f"{words}\n", 403, content_type="text/plain; charset=utf-8")


def _offer(app: Flask, pages: Pages) -> None:
    def answer() -> Response:
        page = pages.answer(_asked())
        return Response(page.body, page.status, content_type=page.content_type)

    for path in PATHS:
        app.add_url_rule(path, path, answer)


def _keep_token() -> AnyResponse:
    """To the same page without the token in its address, which stays in the browser's history."""
    left = [(key, value) for key, value in request.args.items(multi=True) if key != "token"]
    response = redirect(_address(request.path, left))
    response.set_cookie(_cookie(), request.args["token"], httponly=True, samesite="Strict")
    return response


def _address(path: str, query: list[tuple[str, str]]) -> str:
    local = "/" + quote(path.lstrip("/"))  # never //elsewhere
    return f"{local}?{urlencode(query)}" if query else local


def _cookie() -> str:
    return f"{_COOKIE}-{request.environ.get('SERVER_PORT', '')}"


def _asked() -> Asked:
    headers = request.headers
    return Asked(
        path=request.full_path.rstrip("?"),
        host=headers.get("host", ""),
        accept=headers.get("accept", ""),
        authorization=headers.get("authorization", ""),
        is_local=is_local(request.remote_addr or ""),
        cookie=request.cookies.get(_cookie(), ""),
        origin=headers.get("origin", ""),
    )


def is_local(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
