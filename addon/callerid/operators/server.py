"""The port beside the proxy at which the pages answer, in threads of its own."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address

from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from callerid.operators.pages import PATHS, Asked, Pages

POLL_SECONDS = 0.1  # how soon it sees that it is closed, which the proxy waits for


class _Quiet(WSGIRequestHandler):
    """Leaves mitmproxy's log to mitmproxy."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


class Server:
    """Serves the pages until it is closed; raises OSError where the port is taken."""

    def __init__(self, pages: Pages, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listening:  # werkzeug would end the program if it failed
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen()
            self.port: int = listening.getsockname()[1]
            self._server = make_server(
                host, self.port, _app(pages), threaded=True, request_handler=_Quiet,
                fd=listening.fileno(),
            )  # fmt: skip
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="callerid-pages",
            daemon=True,
        ).start()  # fmt: skip

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _app(pages: Pages) -> Flask:
    app = Flask("callerid")

    def answer() -> Response:
        headers = request.headers
        page = pages.answer(
            Asked(
                path=request.full_path.rstrip("?"),
                host=headers.get("host", ""),
                accept=headers.get("accept", ""),
                authorization=headers.get("authorization", ""),
                is_local=is_local(request.remote_addr or ""),
            )
        )
        return Response(page.body, page.status, content_type=page.content_type)

    for path in PATHS:
        app.add_url_rule(path, path, answer)
    return app


def is_local(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
