"""What mitmweb shows of calls: comments, markers, a transcript; and no more of them than it may."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import contentviews, http
from mitmproxy.test import tflow

import make
import story
from callerid.prices import Prices
from callerid.proxy import turnview
from callerid.settings.load import load
from callerid.turn import Dialect
from office import anthropic_reply, text
from viewed import ASK, call, master, mitmweb

ERRAND = "Measure the wind at the harbour mouth and report its force and its direction, please."
SEND = {"type": "tool_use", "id": "t1", "name": "send", "input": {"task": ERRAND}}


def test_a_call_is_told_in_a_line_with_what_it_came_to(tmp_path: Path) -> None:
    Prices(load().prices).load()
    with mitmweb(tmp_path) as (addon, view):
        flow = call(addon, view, master(ASK), anthropic_reply(text("Yes."), tokens=(1200, 310)))

    session = flow.metadata["callerid.session"]
    assert flow.comment == (
        f"main · harbour-master · {session} · new 0.90 · 1.2k→310 tok · $0.0083"
    )
    assert flow.marked == "M"
    assert flow.metadata["callerid.evidence"] == "an opening not heard before"


def test_helpers_and_failures_are_seen_at_once(tmp_path: Path) -> None:
    with mitmweb(tmp_path) as (addon, view):
        lead = call(addon, view, master(ASK), anthropic_reply(SEND))
        helper = call(
            addon, view, {"model": "m", "messages": [{"role": "user", "content": ERRAND}]},
            {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}, 529,
        )  # fmt: skip

    assert helper.marked == "S"
    assert helper.metadata["callerid.parent"] == lead.metadata["callerid.session"]
    assert helper.comment.endswith("· error")


def test_what_the_user_has_written_stays(tmp_path: Path) -> None:
    with mitmweb(tmp_path) as (addon, _):
        request = http.Request.make(
            "POST", "https://api.anthropic.com/v1/messages", json.dumps(master(ASK))
        )
        flow = tflow.tflow(req=request)
        flow.live = True
        flow.comment, flow.marked = "look here", ":red_circle:"
        addon.request(flow)

    assert (flow.comment, flow.marked) == ("look here", ":red_circle:")


@pytest.mark.parametrize("dialect", list(story.PATHS))
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_a_call_is_shown_as_a_transcript(dialect: Dialect, is_stream: bool) -> None:
    said = [
        {"user": "Where is the key?"},
        {"assistant": "Below the mat."},
        {"user": "<b>Which?</b>"},
    ]
    body = make.body(dialect, said, "You are a porter.", ["look"])
    reply = story._reply(dialect, [{"assistant": "The green one."}], 200, 1, {})
    flow = tflow.tflow(
        req=http.Request.make(
            "POST", f"https://llm.example{make.PATHS[dialect]}", make.encoded(body)
        )
    )
    content_type = "application/json"
    content = make.encoded(reply)
    if is_stream:
        content_type, content = "text/event-stream", STREAMS[dialect]
    flow.response = http.Response.make(200, content, {"content-type": content_type})
    flow.metadata["callerid.call"] = "call_1"

    asked = shown(flow, flow.request)
    answered = shown(flow, flow.response)

    assert "── system\nYou are a porter." in asked
    assert "── assistant\nBelow the mat." in asked
    assert "<b>Which?</b>" in asked
    assert "tools: look" in asked
    assert "── assistant\nThe green one." in answered


def events(*values: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in values)


STREAMS = {
    Dialect.OPENAI_CHAT: events(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "The "}}]},
        {"choices": [{"index": 0, "delta": {"content": "green one."}, "finish_reason": "stop"}]},
    ) + b"data: [DONE]\n\n",
    Dialect.GEMINI: events(
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "The green one."}]},
                         "finishReason": "STOP"}]},
    ),
    Dialect.ANTHROPIC: make.sse(
        ("message_start", {"type": "message_start", "message": {
            "id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}}),
        ("content_block_start", {"type": "content_block_start", "index": 0,
                                 "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"type": "content_block_delta", "index": 0,
                                 "delta": {"type": "text_delta", "text": "The green one."}}),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        ("message_stop", {"type": "message_stop"}),
    ),
    Dialect.OPENAI_RESPONSES: make.sse(
        ("response.completed", {"type": "response.completed", "response": {
            "id": "r", "object": "response", "status": "completed", "model": "m",
            "output": [{"type": "message", "id": "i", "role": "assistant", "status": "completed",
                        "content": [{"type": "output_text", "text": "The green one."}]}]}}),
    ),
}  # fmt: skip


def shown(flow: http.HTTPFlow, message: http.Message) -> str:
    """What mitmproxy itself shows of a message of a call, with the view that it chooses."""
    added = turnview.add()
    try:
        if hasattr(contentviews, "prettify_message"):
            shown = contentviews.prettify_message(message, flow, "auto")
            assert shown.view_name == turnview.NAME
            return str(shown.text)
        words, lines, _ = contentviews.get_message_content_view("auto", message, flow)
        assert words.startswith(turnview.NAME)
        return "\n".join("".join(str(text) for _, text in line) for line in lines)
    finally:
        turnview.remove(added)


def test_what_is_no_call_is_shown_as_ever(tmp_path: Path) -> None:
    request = http.Request.make("POST", "https://example.com/", b'{"a": 1}')
    flow = tflow.tflow(req=request)
    with pytest.raises(ValueError, match="expected an LLM call"):
        turnview.turn(flow, flow.request, flow.request.content or b"")
    assert turnview._priority(flow) < 0


def test_old_flows_go_but_none_that_the_user_marked(tmp_path: Path) -> None:
    with mitmweb(tmp_path, "view: {keep_flows: 5}\n") as (addon, view):
        kept = call(addon, view, master(ASK), anthropic_reply(text("Yes.")))
        kept.marked = ":red_circle:"
        for number in range(20):
            asked = {"role": "user", "content": f"May we sail on day {number}?"}
            call(addon, view, master(asked), anthropic_reply(text("No.")))
        left = list(view)

    assert len(left) == 6
    assert kept in left


def test_few_large_flows_are_too_many_as_well(tmp_path: Path) -> None:
    with mitmweb(tmp_path, "view: {keep_bytes: 100000}\n") as (addon, view):
        for number in range(10):
            asked = {"role": "user", "content": f"{number} " + "sail " * 8000}
            call(addon, view, master(asked), anthropic_reply(text("No.")))
        size = sum(len(flow.request.content or b"") for flow in view)

    assert 0 < size <= 100_000


def test_without_a_bound_all_stay(tmp_path: Path) -> None:
    with mitmweb(tmp_path, "view: {keep_flows: 0, keep_bytes: 0}\n") as (addon, view):
        for number in range(20):
            asked = {"role": "user", "content": f"May we sail on day {number}?"}
            call(addon, view, master(asked), anthropic_reply(text("No.")))
        assert len(view) == 20


def test_the_line_is_complete_when_the_loop_comes_to_it(tmp_path: Path) -> None:
    async def play() -> list[str]:
        with mitmweb(tmp_path) as (addon, view):
            flow = call(addon, view, master(ASK), anthropic_reply(text("Yes.")))
            before = flow.comment
            await asyncio.sleep(0)
            return [before, flow.comment]

    before, after = asyncio.run(play())
    assert "tok" not in before
    assert "100→20 tok" in after
