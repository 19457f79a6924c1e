"""What a call costs within callerid, beside what nobody can do without: to read its body once.

The floor is `json.loads` and one blake2b of the body. A conversation of 400 messages grows call by
call, each with its whole history, of which only the newest turn is new.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from statistics import median
from typing import NamedTuple

from callerid.numbers import Numbers
from callerid.proxy.desk import Desk
from callerid.proxy.replies import Ending
from callerid.traces.rows import State
from callerid.turn import Client, Request
from lab import canned
from lab.load import Wrong
from lab.longtalks import Shape, conversation
from lab.played import Sink, desk_for

MESSAGES = 400
STAGES = ("parse", "identify", "stamp")
CALLS = 60  # of the last turns, which are those that are timed
_PATH = "/v1/messages"
_HEADERS = (("content-type", "application/json"), ("x-api-key", "sk-bench"))


class Floor(NamedTuple):
    """Medians in microseconds: of the floor, of the request side, of the reply side; and stages."""

    body_bytes: int
    loads: float
    request: float
    reply: float
    stages: dict[str, float]


def measure(growth: int, messages: int = MESSAGES, calls: int = CALLS) -> Floor:
    """Measure with turns of about so many bytes; raises Wrong."""
    turns = messages // 2
    shape = Shape("", 3000 + growth * (turns - calls // 2), turns=calls, growth=growth)
    sink, numbers = Sink(), Numbers({})
    with desk_for(sink, numbers) as desk:
        timed = [_timed(desk, request, reply) for request, reply in _exchanges(shape)][calls // 2 :]
        stages = {
            name: 1000 * numbers.mean_ms("stage_seconds", stage=name)
            for name in ("parse", "identify", "stamp")
        }
    known = {each.identity.session_id for each in sink.entries if each.identity}
    if len(known) != 1:
        raise Wrong(f"one conversation was taken for {len(known)} sessions")
    body, loads, asked, answered = zip(*timed, strict=True)
    return Floor(int(median(body)), median(loads), median(asked), median(answered), stages)


def _exchanges(shape: Shape) -> Iterator[tuple[Request, bytes]]:
    client = Client("bench", "connection", "127.0.0.1", "bench")
    for call in conversation(1, shape):
        body = bytes(call.body) + call.end
        yield (
            Request("POST", "https", "llm.example", 443, _PATH, _HEADERS, body, client),
            json.dumps(canned.message(call.turn)).encode(),
        )


def _timed(desk: Desk, request: Request, reply: bytes) -> tuple[int, float, float, float]:
    """The bytes of a call, and what the floor, its request and its reply took."""
    body = request.body
    floor = _took(lambda: (json.loads(body), blake2b(body).digest()))
    began = time.perf_counter()
    taken = desk.take(request, "", began)
    call = desk.send(desk.afford(taken, began), began).call if taken else None
    asked = time.perf_counter() - began
    if call is None:
        raise Wrong("a call was not taken for one")
    began = time.perf_counter()
    desk.replies.begins(call, 200, (("content-type", "application/json"),))
    desk.replies.watch(call, reply, began)
    desk.replies.end(call, Ending(State.OK, 200, began, began, len(reply)))
    return len(body), floor, asked * 1e6, (time.perf_counter() - began) * 1e6


def _took(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1e6
