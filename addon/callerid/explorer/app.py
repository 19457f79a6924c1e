"""The explorer as Flask serves it: its addresses, what a browser may do with its pages, errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, render_template, request
from sqlite_utils import Database
from werkzeug.wrappers import Response as AnyResponse

from callerid.archive.corrections import BadCorrection
from callerid.archive.sessions import BadTime, NotFound
from callerid.explorer import aside, bytesof, views, words
from callerid.explorer.aside import FORM, Aside, NoAside
from callerid.explorer.correcting import DONE, corrected
from callerid.explorer.explanation import explain_page
from callerid.explorer.live import Live
from callerid.explorer.record import NoRecord, opened
from callerid.explorer.views import Elsewhere, Values, View
from callerid.settings.load import Configuration, load
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
    "referrer-policy": "same-origin",  # with none, a form of ours would come from nowhere
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Explorer:
    """The pages over one traces.db; they only read it.

    With `is_aside` a process of its own makes them, and another one what takes long; where none can
    be had, they are made here. `configuration` is what calls are identified by. Forms that correct
    what is on record are offered where `blueprint` is told what they shall carry; whoever serves it
    sees to it that nobody else's are taken.
    """

    def __init__(
        self, path: Path, configuration: Configuration | None = None, *, is_aside: bool = False
    ) -> None:
        self._path = path
        self._configuration = configuration
        self._live = Live(path)
        self._aside = Aside(path, configuration or load()) if is_aside else None
        self._aside_long = Aside(path, configuration or load()) if is_aside else None
        self._form = ""

    def close(self) -> None:
        """Let the browsers go that listen."""
        self._live.close()
        for process in (self._aside, self._aside_long):
            if process is not None:
                process.close()

    def blueprint(self, form: str = "") -> Blueprint:
        """What a Flask application serves; `form` is what each form carries, "" is no form."""
        self._form = form
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
        here = partial(self._page, "explain", self._explain)
        made.add_url_rule("/explain", "explain", partial(self._answer, here, takes_long=True))
        here = self._correct
        made.add_url_rule("/correct", "correct", partial(self._answer, here), methods=["POST"])
        made.add_url_rule("/events", "events", self._events)
        for name, shown in words.FILTERS.items():
            made.add_app_template_filter(shown, name)
        made.add_app_template_filter(lambda at: words.ago(at, time.time()), "ago")
        for kind in (
            NotFound,
            NoRecord,
            BadCorrection,
            NotJSON,
            NotPacked,
            BadTime,
            sqlite3.DatabaseError,
        ):
            made.register_error_handler(kind, _trouble)
        made.after_app_request(_guarded)
        made.record_once(_compactly)
        return made

    def _answer(self, here: Callable[[], AnyResponse], *, takes_long: bool = False) -> AnyResponse:
        process = self._aside_long if takes_long else self._aside
        if process is not None:
            try:
                made = process.get(_asked(self._form))
                return Response(made.body, made.status, made.headers)
            except NoAside:
                pass  # slower for the traffic, but somebody wants to see a page
        return here()

    def _page(self, template: str, view: View) -> AnyResponse:
        with opened(self._path) as database:
            found = view(database, request.args)
        if isinstance(found, Elsewhere):
            return redirect(found.address)
        values: Values = {
            "path": str(self._path), "here": template, "args": request.args,
            "form": request.environ.get(FORM, self._form),
            "done": DONE.get(request.args.get("did", ""), ""),
        }  # fmt: skip
        return make_response(render_template(f"{template}.html", **values, **found))

    def _explain(self, database: Database, args: Mapping[str, str]) -> Values:
        return explain_page(database, args, self._configuration or load())

    def _correct(self) -> AnyResponse:
        return redirect(corrected(self._path, request.form), 303)

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
    is_wrong = isinstance(error, BadTime | BadCorrection)
    status = 404 if isinstance(error, NotFound) else 400 if is_wrong else 503
    said = render_template(
        "trouble.html", said=str(error), here="trouble", args=request.args,
        session=request.form.get("session", "") if request.method == "POST" else None,
    )  # fmt: skip
    return make_response(said, status)


def _asked(form: str) -> aside.Asked:
    """The page that is asked for, as a process of its own is asked for it."""
    said = urlencode(list(request.form.items())) if request.method == "POST" else None
    return aside.Asked(request.path, request.query_string.decode("latin-1"), form, said)


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
