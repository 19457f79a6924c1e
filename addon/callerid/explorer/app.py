"""The explorer as Flask serves it: its addresses, what a browser may do with its pages, errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from callerid.archive.sessions import BadTime, NotFound
from callerid.explorer import bytesof, views, words
from callerid.explorer.aside import Aside, NoAside
from callerid.explorer.live import Live
from callerid.explorer.record import NoRecord, opened
from callerid.explorer.views import Elsewhere, Values, View
from callerid.traces.pack import NotPacked
from callerid.wire.wirejson import NotJSON

# Nothing but our own files: prompts are hostile HTML, and must not load or run a thing.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Explorer:
    """The pages over one traces.db; they only read it.

    With `is_aside` a process of its own makes them; where none can be had, they are made here.
    """

    def __init__(self, path: Path, *, is_aside: bool = False) -> None:
        self._path = path
        self._live = Live(path)
        self._aside = Aside(path) if is_aside else None

    def close(self) -> None:
        """Let the browsers go that listen."""
        self._live.close()
        if self._aside is not None:
            self._aside.close()

    def blueprint(self) -> Blueprint:
        """What a Flask application serves."""
        made = Blueprint(
            "explorer", __name__, template_folder="templates", static_folder="static",
            static_url_path="/static",
        )  # fmt: skip
        for address, template, view in PAGES:
            here: Callable[[], AnyResponse] = partial(self._page, template, view)
            made.add_url_rule(address, template, partial(self._answer, here))
        for address, read in bytesof.ADDRESSES:
            here = partial(self._bytes, read)
            made.add_url_rule(address, address, partial(self._answer, here))
        made.add_url_rule("/events", "events", self._events)
        for name, shown in words.FILTERS.items():
            made.add_app_template_filter(shown, name)
        made.add_app_template_filter(lambda at: words.ago(at, time.time()), "ago")
        for kind in (NotFound, NoRecord, NotJSON, NotPacked, BadTime, sqlite3.DatabaseError):
            made.register_error_handler(kind, _trouble)
        made.after_app_request(_guarded)
        made.record_once(_compactly)
        return made

    def _answer(self, here: Callable[[], AnyResponse]) -> AnyResponse:
        if self._aside is not None:
            try:
                made = self._aside.get(request.path, request.query_string)
                return Response(made.body, made.status, made.headers)
            except NoAside:
                pass  # slower for the traffic, but somebody wants to see a page
        return here()

    def _page(self, template: str, view: View) -> AnyResponse:
        with opened(self._path) as database:
            found = view(database, request.args)
        if isinstance(found, Elsewhere):
            return redirect(found.address)
        values: Values = {"path": str(self._path), "here": template, "args": request.args}
        return make_response(render_template(f"{template}.html", **values, **found))

    def _bytes(self, read: bytesof.Read) -> Response:
        with opened(self._path) as database:
            found = read(database, request.args)
        response = Response(found.content, content_type=found.content_type)
        if found.file_name:
            response.headers["content-disposition"] = f'attachment; filename="{found.file_name}"'
        return response

    def _events(self) -> Response:
        said = request.args
        events = self._live.listen(said.get("run", ""), said.get("session", ""))
        response = Response(events, content_type="text/event-stream")
        response.headers["x-accel-buffering"] = "no"
        return response


def _trouble(error: Exception) -> AnyResponse:
    """A page that says what was not found, or could not be read."""
    status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, BadTime) else 503
    said = render_template("trouble.html", said=str(error), here="trouble", args=request.args)
    return make_response(said, status)


def _guarded(response: Response) -> Response:
    response.headers.update(HEADERS)
    is_file = request.path.startswith("/static/")
    response.headers["cache-control"] = "no-cache" if is_file else "no-store"
    return response


def _compactly(state: object) -> None:
    """Pages without the lines that templates leave behind."""
    environment = state.app.jinja_env  # type: ignore[attr-defined]
    environment.trim_blocks = environment.lstrip_blocks = True


PAGES: tuple[tuple[str, str, View], ...] = (
    ("/", "runs", views.runs_page),
    ("/run", "run", views.run_page),
    ("/session", "session", views.session_page),
    ("/call", "call", views.call_page),
    ("/agents", "agents", views.agents_page),
    ("/agent", "agent", views.agent_page),
    ("/compare", "compare", views.compare_page),
)
