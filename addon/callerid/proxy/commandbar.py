"""What can be asked in the command bar of mitmweb and mitmproxy's console, with `callerid.` before.

They run in mitmproxy's loop: what they tell at once comes from memory, and files are written in a
thread, which says in the log when it is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mitmproxy import command, ctx, exceptions, flow, http, types
from mitmproxy.log import ALERT

from callerid.explorer.record import NoRecord, opened
from callerid.exports import files
from callerid.exports.formats import FORMATS
from callerid.exports.otlp import CannotExport
from callerid.figures import plural
from callerid.guard import Guard
from callerid.identity.explain import climbed
from callerid.ids import new_id
from callerid.proxy import flows, shown
from callerid.proxy.setup import Setup
from callerid.traces.pack import NotPacked
from callerid.turn import Because
from callerid.wire.wirejson import NotJSON

log = logging.getLogger(__name__)
SHOWN = 50  # sessions
WAIT_SECONDS = 3.0  # for calls that are not on record yet
SESSION, FORKED = "x-callerid-session-id", "x-callerid-forked-session-id"
Flows = Sequence[flow.Flow]


class CommandBar:
    """The commands; `setup` are the parts as they are now."""

    name = "callerid-commands"  # among mitmproxy's addons

    def __init__(self, setup: Callable[[], Setup | None], guard: Guard) -> None:
        self._setup = setup
        self._guard = guard

    @command.command("callerid.sessions")  # type: ignore[untyped-decorator]
    def sessions(self, words: str = "") -> Sequence[str]:
        """The sessions that were heard of last; with words, those whose id or names have them."""
        parts, now = self._parts(), time.time()
        board, names = parts.desk.switchboard, parts.names
        told: list[str] = []
        for session in board.memory.newest():
            agent = board.agents.known(session.agent_id)
            name = agent.name if agent else session.agent_id
            given = names.get(session.id, "")
            if words.lower() in f"{session.id} {name} {given} {session.root_id}".lower():
                relation = f" · {session.relation} of {session.parent_id}"
                told.append(
                    f"{session.id} · {f'{given} · ' if given else ''}{name} · "
                    f"{plural(session.calls, 'call')} · "
                    f"{now - session.seen:.0f} s ago{relation if session.relation else ''}"
                )
            if len(told) == SHOWN:
                break
        return told or ["no live session" + (f" has {words!r}" if words else "")]

    @command.command("callerid.explain")  # type: ignore[untyped-decorator]
    def explain(self, flow: flow.Flow) -> Sequence[str]:
        """Whose call a flow is, and why: the ladder of evidence, and where it was decided."""
        said = _said(flow)
        because = Because(str(said["callerid.because"]).split()[0])
        evidence = str(said["callerid.evidence"])
        parent, call = said.get("callerid.parent"), said.get("callerid.call")
        return [
            f"{call or 'the newest call'} is of {said['callerid.session']}"
            + (f", which came from {parent}" if parent else ""),
            f"because {said['callerid.because']}: {evidence}",
            *(f"{'●' if rung.decided else '○'} {rung.name}: {rung.found}"
              for rung in climbed(because, evidence)),
            *([f"What each rung looked at: callerid explain {call}"] if call else []),
        ]  # fmt: skip

    @command.command("callerid.fork")  # type: ignore[untyped-decorator]
    def fork(self, flows: Flows) -> None:
        """Copy calls into flows of their own, to be changed and sent (replay) as forks."""
        view = ctx.master.addons.get("view")  # type: ignore[no-untyped-call]
        if view is None:
            raise exceptions.CommandError("there is no list of flows: use mitmweb or the console")
        copies = [_forked(each, str(_said(each)["callerid.session"])) for each in flows]
        if copies:
            view.add(copies)
            view.focus.flow = copies[0]
            log.log(ALERT, "callerid: %s to be sent as a fork: change it, and replay it",
                    plural(len(copies), "call"))  # fmt: skip

    @command.command("callerid.export.formats")  # type: ignore[untyped-decorator]
    def formats(self) -> Sequence[str]:
        """The formats of callerid.export."""
        return list(FORMATS)

    @command.command("callerid.export")  # type: ignore[untyped-decorator]
    @command.argument("format", type=types.Choice("callerid.export.formats"))  # type: ignore[untyped-decorator, no-untyped-call]
    def export(self, format: str, flows: Flows, path: types.Path) -> str:
        """Write the sessions of some flows to a file, whole, as they are on record."""
        traces = self._parts().traces
        if traces is None:
            raise exceptions.CommandError("nothing is on record: record.enabled is false")
        said = [_said(each) for each in flows]
        sessions = list(dict.fromkeys(str(each["callerid.session"]) for each in said))
        calls = [str(each["callerid.call"]) for each in said if "callerid.call" in each]
        if not sessions:
            raise exceptions.CommandError("there is no flow of which the session could be written")
        writing = _Writing(traces, format, sessions, calls, Path(path).expanduser(), self._guard)
        threading.Thread(target=writing.run, name="callerid-export", daemon=True).start()
        return f"{plural(len(sessions), 'session')} to {path}: the log says when it is written"

    def _parts(self) -> Setup:
        setup = self._setup()
        if setup is None:
            raise exceptions.CommandError("callerid has not started")
        return setup


class _Writing:
    """A file that is being written."""

    def __init__(
        self, traces: Path, format: str, sessions: list[str], calls: list[str], path: Path,
        guard: Guard,
    ) -> None:  # fmt: skip
        self._traces = traces
        self._format = format
        self._sessions = sessions
        self._calls = calls
        self._path = path
        self._guard = guard

    def run(self) -> None:
        """Write it, and say so in the log."""
        with self._guard("export"):
            try:
                with opened(self._traces) as database:
                    files.await_record(database, self._calls, WAIT_SECONDS)
                    count = files.write_sessions(database, self._format, self._sessions, self._path)
            except (OSError, CannotExport, NoRecord, NotJSON, NotPacked) as error:
                log.warning("callerid: %s was not written: %s", self._path, error)
                return
            log.log(ALERT, "callerid: %s to %s", plural(count, "call"), self._path)


def _said(flow: flow.Flow) -> dict[str, object]:
    """What we have written at a flow; raises CommandError where it is no call."""
    if "callerid.session" not in flow.metadata:
        raise exceptions.CommandError("this flow is no LLM call that was identified")
    return flow.metadata


def _forked(original: flow.Flow, session: str) -> http.HTTPFlow:
    """A call that was not sent yet, of a session of its own; raises CommandError."""
    if not isinstance(original, http.HTTPFlow) or original.websocket is not None:
        raise exceptions.CommandError("calls in a WebSocket cannot be sent again")
    if original.request.raw_content is None:
        raise exceptions.CommandError("the body of this call was not kept")
    copy: http.HTTPFlow = original.copy()  # type: ignore[no-untyped-call]
    copy.response = copy.error = None
    copy.intercepted = False
    flows.declare(copy, {SESSION: new_id("sess"), FORKED: session}, "x-callerid-")
    shown.describe_fork(copy, session)
    return copy
