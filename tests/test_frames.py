"""Which frames of a WebSocket begin a call and which end it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callerid.wire import wirejson
from callerid.wire.frames import Frames, as_event


def frame(type: str, **more: Any) -> bytes:
    return json.dumps({"type": type, **more}).encode()


def body(frames: Frames, said: bytes) -> dict[str, Any]:
    value = json.loads(frames.begun_by(said))
    assert isinstance(value, dict)
    return value


def test_a_whole_request_in_a_frame_is_the_call() -> None:
    frames = Frames("/v1/responses")

    asked = body(frames, frame("response.create", model="m", input=[{"role": "user"}], store=False))

    assert asked == {"model": "m", "input": [{"role": "user"}], "store": False}


def test_realtime_items_are_collected_until_they_are_asked_about() -> None:
    frames = Frames("/v1/realtime?model=gpt-realtime")
    hello, again = (
        {"type": "message", "role": "user"},
        {"type": "message", "role": "user", "id": "2"},
    )

    assert frames.begun_by(frame("session.update", session={"instructions": "Be kind."})) == b""
    assert frames.begun_by(frame("conversation.item.create", item=hello)) == b""
    first = body(frames, frame("response.create"))
    assert frames.ended_by(frame("response.done", response={"id": "resp_1"}))
    frames.begun_by(frame("conversation.item.create", item=again))
    second = body(frames, frame("response.create"))

    assert first == {
        "model": "gpt-realtime",
        "instructions": "Be kind.",
        "stream": True,
        "input": [hello],
    }
    assert second["input"] == [again]
    assert second["previous_response_id"] == "resp_1"


@pytest.mark.parametrize(
    ("type", "ends"),
    [
        ("response.completed", True),
        ("response.failed", True),
        ("response.incomplete", True),
        ("response.done", True),
        ("error", True),
        ("response.created", False),
        ("response.output_text.delta", False),
        ("", False),
    ],
)
def test_a_reply_ends_where_the_server_says_so(type: str, ends: bool) -> None:
    assert Frames("/v1/responses").ended_by(frame(type)) is ends


@pytest.mark.parametrize("said", [b"[]", b'"error"', b'{"type": 3}', b'{"a": "\\ud800"}'])
def test_frames_of_any_other_shape_end_nothing(said: bytes) -> None:
    assert not Frames("/v1/responses").ended_by(said)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(wirejson.NotJSON):
        Frames("/v1/responses").begun_by(b"hello")
    with pytest.raises(wirejson.NotJSON):
        Frames("/v1/responses").ended_by(b"hello")


def test_a_frame_is_one_event_however_it_is_written() -> None:
    pretty = json.dumps({"type": "error", "message": "a\nb"}, indent=2).encode()

    event = as_event(pretty)

    assert event.count(b"\n") == 2
    assert json.loads(event.removeprefix(b"data: ")) == json.loads(pretty)


def test_items_of_a_call_that_was_withdrawn_are_asked_about_again() -> None:
    frames = Frames("/v1/realtime?model=gpt-realtime")
    hello, again = ({"type": "message", "role": "user", "id": id} for id in "12")

    frames.begun_by(frame("conversation.item.create", item=hello))
    frames.begun_by(frame("response.create"))
    frames.withdraw()
    frames.begun_by(frame("conversation.item.create", item=again))
    asked = body(frames, frame("response.create"))
    frames.begun_by(frame("response.create", input=[], model="m"))
    frames.withdraw()

    assert asked["input"] == [hello, again]
    assert body(frames, frame("response.create"))["input"] == []
