"""A run on a time line: a lane a session, a bar a call, and what led from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from callerid.archive.calls import CallFacts
from callerid.archive.sessions import SessionFacts
from callerid.explorer import words
from callerid.explorer.scale import Scale, scale
from callerid.turn import Kind

WIDTH = 1000.0
LANE = 46.0
TOP = 26.0  # above the lanes: the ticks
BAR = 14.0
SIDE = 5.0  # a side call's bar, below the others
LEAST = 2.0  # units: no bar is narrower
MOST_LANES = 80
_BAR_AT = 22.0  # below the top of a lane: its label stands above
_SIDE_AT = 38.0
_WORDS = 44.0  # what the words at a tick take


class Bar(NamedTuple):
    """A call; from `first` on its reply came."""

    id: str
    x: float
    first: float
    right: float
    y: float
    height: float
    style: str
    title: str


class Lane(NamedTuple):
    """A session; `gaps` are where its tools ran, `compactions` where its history is told anew."""

    session: SessionFacts
    depth: int
    y: float
    bars: list[Bar]
    gaps: list[tuple[float, float, str]]
    compactions: list[float]


class Spawn(NamedTuple):
    """A line from where a session came from to where it begins."""

    x: float
    top: float
    bottom: float
    relation: str


class Timeline(NamedTuple):
    """A drawing, in units; `left_out` are sessions that have no lane in it."""

    width: float
    height: float
    lanes: list[Lane]
    spawns: list[Spawn]
    ticks: list[tuple[float, str]]
    pauses: list[tuple[float, str]]
    left_out: int


def timeline(
    ordered: list[SessionFacts], calls: list[CallFacts], tools: Mapping[str, list[str]]
) -> Timeline | None:
    """The drawing of a run; parents come first in `ordered`. None where there is no call."""
    shown = ordered[:MOST_LANES]
    if not calls or not shown:
        return None
    line = scale(((call.started_at, _end(call)) for call in calls), WIDTH)
    of: dict[str, list[CallFacts]] = {}
    for call in calls:
        of.setdefault(call.session_id or "", []).append(call)
    lanes: list[Lane] = []
    depths: dict[str, int] = {}
    for number, session in enumerate(shown):
        depths[session.id] = depths.get(session.parent_session_id, -1) + 1
        y = TOP + number * LANE
        lanes.append(_lane(session, depths[session.id], y, of.get(session.id, []), line, tools))
    pauses = line.pauses()
    return Timeline(
        width=WIDTH,
        height=TOP + len(lanes) * LANE + 4,
        lanes=lanes,
        spawns=_spawns(lanes, line),
        ticks=[(x, words.after(at)) for x, at in _apart(line.ticks(), [x for x, _ in pauses])],
        pauses=[(x, words.about(seconds)) for x, seconds in pauses],
        left_out=len(ordered) - len(shown),
    )


def _end(call: CallFacts) -> float:
    return max(call.started_at, call.ended_at or call.first_byte_at or call.started_at)


def _lane(
    session: SessionFacts, depth: int, y: float, calls: list[CallFacts], line: Scale,
    tools: Mapping[str, list[str]],
) -> Lane:  # fmt: skip
    main = [call for call in calls if call.kind == Kind.MAIN]
    gaps = [
        (line.x(_end(one)), line.x(two.started_at), _ran(tools[one.id], one, two))
        for one, two in pairwise(main)
        if one.id in tools and two.started_at > _end(one)
    ]
    told_anew = [line.x(call.started_at) for call in calls if call.is_compaction]
    return Lane(session, depth, y, [_bar(call, y, line) for call in calls], gaps, told_anew)


def _ran(names: list[str], one: CallFacts, two: CallFacts) -> str:
    return f"{', '.join(names)} · {words.duration(two.started_at - _end(one))}"


def _bar(call: CallFacts, y: float, line: Scale) -> Bar:
    is_main = call.kind == Kind.MAIN
    x, right = line.x(call.started_at), line.x(_end(call))
    first = line.x(call.first_byte_at) if call.first_byte_at else right
    style = "failed" if call.has_failed else "open" if call.state == "in_flight" else call.kind
    return Bar(
        call.id, x, min(first, right), max(right, x + LEAST),
        y + (_BAR_AT if is_main else _SIDE_AT), BAR if is_main else SIDE, style, _title(call),
    )  # fmt: skip


def _title(call: CallFacts) -> str:
    took = "under way" if call.ended_at is None else words.duration(call.seconds)
    used = f"{words.count(call.input_tokens)} → {words.count(call.output_tokens)} tokens"
    first = f"first byte {words.duration(call.first_byte_seconds)}"
    trouble = f" · {call.state} {call.status or ''}" if call.has_failed else ""
    kind = "" if call.kind == Kind.MAIN else f"{call.kind} · "
    line = f"{kind}{words.clock(call.started_at)} · {took} · {first}{trouble}"
    return words.seen(f"{line}\n{used} · {words.dollars(call.cost_usd)} · {call.model}")


def _spawns(lanes: list[Lane], line: Scale) -> list[Spawn]:
    by_id = {lane.session.id: lane for lane in lanes}
    return [
        Spawn(
            line.x(lane.session.first_seen), above.y + _BAR_AT + BAR / 2,
            lane.y + _BAR_AT + BAR / 2, lane.session.relation,
        )
        for lane in lanes
        if (above := by_id.get(lane.session.parent_session_id)) and above.y < lane.y
    ]  # fmt: skip


def _apart(ticks: list[tuple[float, float]], pauses: list[float]) -> list[tuple[float, float]]:
    """Ticks whose words do not run into one another, nor into those of the pauses."""
    kept: list[tuple[float, float]] = []
    for tick in ticks:
        is_free = all(abs(tick[0] - x) > _WORDS for x in pauses)
        if is_free and (not kept or tick[0] - kept[-1][0] >= _WORDS):
            kept.append(tick)
    return kept
