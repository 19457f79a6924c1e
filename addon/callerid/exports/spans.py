"""Spans: one a call and one a session, in a tree a run; with the same ids whenever they are made.

A run is a trace; a session's span is below its parent's, and its calls are below it. A call whose
client sent a `traceparent` joins that trace, below the client's own span
(https://www.w3.org/TR/trace-context/). The ids are those that the profile `otel` sends upstream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from callerid.archive.calls import CallFacts, Spoken
from callerid.exports import gen_ai, openinference
from callerid.exports.attributes import Attributes
from callerid.stamp.parts import span_id, trace_id

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-")
_FAILED = ("error", "truncated", "aborted", "unreachable", "interrupted", "blocked")


class Span(NamedTuple):
    """A span: ids in hexadecimal digits ("" is no parent), times in seconds since the epoch.

    `asks` says that it is a call to somebody else.
    """

    name: str
    trace: str
    id: str
    parent: str
    began: float
    ended: float
    attributes: Attributes
    asks: bool = False
    has_failed: bool = False


class Style(NamedTuple):
    """How spans are told: by which conventions, `newest` names or not, with what was said or not.

    `conventions` is gen_ai, openinference or both.
    """

    conventions: str = "gen_ai"
    newest: bool = False
    content: bool = False

    @property
    def speaks_gen_ai(self) -> bool:
        """Whether OpenTelemetry's own names are used."""
        return self.conventions != "openinference"

    @property
    def speaks_openinference(self) -> bool:
        """Whether OpenInference's names are used."""
        return self.conventions != "gen_ai"


def of_call(facts: CallFacts, spoken: Spoken | None, style: Style) -> Span:
    """The span of a call; `spoken` is what was said, if that is to be told."""
    attributes: Attributes = {}
    if style.speaks_gen_ai:
        attributes |= gen_ai.of_call(facts, spoken, newest=style.newest)
    if style.speaks_openinference:
        attributes |= openinference.of_call(facts, spoken)
    if spoken is not None and facts.evidence:  # it may quote what was said
        attributes["callerid.evidence"] = facts.evidence
    trace, parent = _place(facts)
    return Span(
        name=" ".join(filter(None, (gen_ai.operation(facts), facts.request_model))),
        trace=trace,
        id=span_id(facts.id),
        parent=parent,
        began=facts.started_at,
        ended=facts.started_at if facts.ended_at is None else facts.ended_at,
        attributes=attributes,
        asks=True,
        has_failed=facts.state in _FAILED,
    )


def of_session(facts: CallFacts, began: float, ended: float, style: Style) -> Span | None:
    """The span of the session that a call is of; None where that call hangs elsewhere."""
    if not facts.session_id or _joined(facts):
        return None
    attributes: Attributes = {}
    if style.speaks_gen_ai:
        attributes |= gen_ai.of_session(facts, newest=style.newest)
    if style.speaks_openinference:
        attributes |= openinference.of_session(facts)
    return Span(
        name=" ".join(filter(None, ("invoke_agent", facts.agent))),
        trace=trace_id(facts.root_session_id or facts.session_id),
        id=_of_session(facts.session_id),
        parent=_of_session(facts.parent_session_id) if facts.parent_session_id else "",
        began=began,
        ended=max(began, ended),
        attributes=attributes,
    )


def _place(facts: CallFacts) -> tuple[str, str]:
    """The trace that a call is in, and the span that it is below."""
    joined = _joined(facts)
    if joined is not None:
        return joined[1], joined[2]
    run = facts.root_session_id or facts.session_id or facts.id
    return trace_id(run), _of_session(facts.session_id) if facts.session_id else ""


def _joined(facts: CallFacts) -> re.Match[str] | None:
    return _TRACEPARENT.match(facts.header("traceparent"))


def _of_session(session_id: str) -> str:
    return span_id(f"session {session_id}")


def newest_names(environment: Mapping[str, str]) -> bool:
    """Whether an environment asks for the newest names (OTEL_SEMCONV_STABILITY_OPT_IN)."""
    words = environment.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "gen_ai_latest_experimental" in map(str.strip, words)
