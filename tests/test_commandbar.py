"""The commands of mitmweb's and the console's command bar, through mitmproxy's own manager."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow

from callerid.proxy.addon import CallerId
from office import anthropic_reply, text
from viewed import ASK, call, master, mitmweb

ON = {"role": "assistant", "content": "Yes."}
MORE = {"role": "user", "content": "And tomorrow?"}


class Harbour:
    """Two conversations that were held, and what can be asked of them."""

    def __init__(self, addon: CallerId, view: View) -> None:
        self.addon, self.view = addon, view
        self.first = call(addon, view, master(ASK), anthropic_reply(text("Yes.")))
        self.second = call(addon, view, master(ASK, ON, MORE), anthropic_reply(text("No.")))
        pilot = {"model": "m", "system": "You are a pilot.", "messages": [MORE]}
        self.pilot = call(addon, view, pilot, anthropic_reply(text("Aye.")))

    @staticmethod
    def ask(command: str) -> Any:
        return ctx.master.commands.execute(command)

    def send(self, flow: http.HTTPFlow) -> None:
        """What mitmproxy does when a flow is replayed."""
        flow.is_replay, flow.live, flow.response = "request", True, None
        self.addon.requestheaders(flow)
        self.addon.request(flow)
        content = json.dumps(anthropic_reply(text("Perhaps."))).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content))}
        flow.response = http.Response.make(200, content, headers)
        self.addon.responseheaders(flow)
        self.addon.response(flow)


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    with mitmweb(tmp_path) as (addon, view):
        yield Harbour(addon, view)


def session_of(flow: http.HTTPFlow) -> str:
    return str(flow.metadata["callerid.session"])


def test_sessions_lists_them_the_newest_first(harbour: Harbour) -> None:
    pilot, main = harbour.ask("callerid.sessions")

    assert pilot.startswith(f"{session_of(harbour.pilot)} · pilot · 1 call · ")
    assert main.startswith(f"{session_of(harbour.first)} · harbour-master · 2 calls · ")
    assert harbour.ask("callerid.sessions PILOT") == [pilot]
    assert harbour.ask("callerid.sessions nobody") == ["no live session has 'nobody'"]


def test_explain_shows_the_ladder_up_to_what_decided(harbour: Harbour) -> None:
    told = harbour.ask(f"callerid.explain @{harbour.second.id}")

    call_id = harbour.second.metadata["callerid.call"]
    assert told[0] == f"{call_id} is of {session_of(harbour.second)}"
    assert told[1].startswith("because history 0.99: it goes on from the newest reply of")
    assert told[2:5] == ["○ header: nothing", "○ body: nothing", "○ response_id: nothing"]
    assert told[5].startswith("● history: it goes on")
    assert told[6].endswith(f"callerid explain {call_id}")


def test_fork_makes_a_copy_that_becomes_a_session_of_its_own_when_it_is_sent(
    harbour: Harbour, tmp_path: Path
) -> None:
    harbour.ask(f"callerid.fork @{harbour.second.id}")
    copy = harbour.view.focus.flow

    assert copy not in (harbour.first, harbour.second, harbour.pilot)
    assert copy.response is None
    assert copy.comment == f"a fork of {session_of(harbour.second)}, not sent yet"
    copy.request.content = copy.request.content.replace(b"tomorrow", b"on Sunday")
    harbour.send(copy)
    harbour.send(harbour.second)  # the original is sent again: that is no fork

    assert session_of(copy) != session_of(harbour.second)
    assert copy.metadata["callerid.parent"] == session_of(harbour.first)
    assert copy.marked == "F"
    assert session_of(harbour.second) == session_of(harbour.first)
    harbour.addon.done()
    with closing(sqlite3.connect(tmp_path / "traces.db")) as database:
        query = "select id, parent_session_id from sessions where relation = 'fork'"
        assert database.execute(query).fetchall() == [(session_of(copy), session_of(harbour.first))]


def test_a_fork_that_nobody_changed_is_a_fork_and_sent_twice_it_stays_one_session(
    harbour: Harbour,
) -> None:
    harbour.ask(f"callerid.fork @{harbour.second.id}")
    copy = harbour.view.focus.flow
    harbour.send(copy)
    once = session_of(copy)
    harbour.send(copy)

    assert session_of(copy) == once != session_of(harbour.second)


def test_export_writes_the_whole_sessions_of_some_flows(harbour: Harbour, tmp_path: Path) -> None:
    out = tmp_path / "new" / "day.jsonl"
    said = harbour.ask(f"callerid.export jsonl @{harbour.second.id} {out}")
    wait()

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert said.startswith("1 session to ")
    assert [line["session_id"] for line in lines] == [session_of(harbour.first)] * 2
    assert out.stat().st_mode & 0o077 == 0


def test_export_takes_each_format_of_the_command_line_and_no_other(
    harbour: Harbour, tmp_path: Path
) -> None:
    formats = harbour.ask("callerid.export.formats")
    for name in formats:
        harbour.ask(f"callerid.export {name} @all {tmp_path}/out.{name}")
    wait()

    assert "har" in formats
    assert all((tmp_path / f"out.{name}").stat().st_size for name in formats)
    with pytest.raises(exceptions.CommandError):
        harbour.ask(f"callerid.export xml @all {tmp_path}/out")


def test_a_file_that_cannot_be_written_is_said(
    harbour: Harbour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harbour.ask(f"callerid.export csv @all {tmp_path}")
    wait()

    assert f"{tmp_path} was not written: " in caplog.text


@pytest.mark.parametrize("command", ["explain @focus", "fork @focus", "export csv @focus out"])
def test_what_is_no_call_is_refused_in_words(harbour: Harbour, command: str) -> None:
    other = tflow.tflow()
    harbour.view.add([other])
    harbour.view.focus.flow = other

    with pytest.raises(exceptions.CommandError, match="this flow is no LLM call"):
        harbour.ask(f"callerid.{command}")


def test_without_a_list_of_flows_there_is_no_fork() -> None:
    addon = CallerId()
    with taddons.context(addon) as context:
        with pytest.raises(exceptions.CommandError, match="use mitmweb or the console"):
            addon.addons[0].fork([])
        context.master._legacy_log_events.uninstall()
        addon.done()


def wait() -> None:
    """Until all that is being written is."""
    for thread in threading.enumerate():
        if thread.name == "callerid-export":
            thread.join()
