"""What mitmweb and mitmproxy's console show of a call: its comment, its marker, its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from mitmproxy import ctx, hooks, http

from callerid import figures
from callerid.proxy import flows
from callerid.traces.rows import Entry, State
from callerid.turn import Identity, Kind, Relation

# Flow filters find them: ~marker. A letter, since not every terminal has every sign.
MARKERS = {
    Kind.MAIN: "M", Kind.TITLE: "T", Kind.COMPACTION: "C", Kind.COUNT_TOKENS: "N",
    Kind.PREWARM: "P", Kind.ROUTER: "R", Kind.AUXILIARY: "A", Kind.EMBEDDING: "E",
}  # fmt: skip
RELATED = {Relation.SUBAGENT: "S", Relation.FORK: "F", Relation.RESET: "B"}
_COMMENT, _MARKER = "callerid.comment", "callerid.marker"


def describe(flow: http.HTTPFlow, identity: Identity | None, names: Mapping[str, str]) -> None:
    """Say whose call a flow is, unless the user has written there himself.

    `names` are those that people gave sessions, by their ids.
    """
    if identity is None:
        return
    flow.metadata["callerid.session"] = identity.session_id
    flow.metadata["callerid.root"] = identity.root_session_id
    flow.metadata["callerid.parent"] = identity.parent_session_id
    flow.metadata["callerid.agent"] = identity.agent_name or identity.agent_id
    flow.metadata["callerid.because"] = f"{identity.because} {identity.confidence:.2f}"
    flow.metadata["callerid.evidence"] = identity.evidence
    flow.metadata["callerid.name"] = names.get(identity.session_id, "")
    _comment(flow, _words(flow, identity))
    is_related = identity.kind is Kind.MAIN and identity.relation is not None
    _mark(flow, RELATED[identity.relation] if is_related and identity.relation else
          MARKERS[identity.kind])  # fmt: skip


def describe_end(flow: http.HTTPFlow, entry: Entry, cost_usd: float | None) -> None:
    """Add what a call came to, and let those who look at it see that."""
    if entry.identity is None:
        return
    usage = entry.reply.usage if entry.reply else None
    came_to = [_words(flow, entry.identity)]
    if usage is not None and usage.total_input_tokens is not None:
        taken = usage.total_output_tokens or 0
        came_to.append(f"{_short(usage.total_input_tokens)}→{_short(taken)} tok")
    if cost_usd is not None:
        came_to.append(figures.dollars(cost_usd))
    if entry.state is not State.OK:
        came_to.append(str(entry.state))
    _comment(flow, " · ".join(came_to))
    ctx.master.addons.trigger(hooks.UpdateHook([flow]))


def describe_fork(flow: http.HTTPFlow, session_id: str) -> None:
    """Say of a copied call that it was not sent yet, and of what it will be a fork."""
    for name in [name for name in flow.metadata if name.startswith("callerid.")]:
        if name not in (flows.STAMPED, flows.STRIPPED):
            del flow.metadata[name]
    flow.comment = flow.metadata[_COMMENT] = f"a fork of {session_id}, not sent yet"
    flow.marked = flow.metadata[_MARKER] = RELATED[Relation.FORK]


def is_looked_at() -> bool:
    """Whether there is a view of flows: in mitmweb and the console, not in mitmdump."""
    view = ctx.master.addons.get("view")  # type: ignore[no-untyped-call]
    return view is not None


def _words(flow: http.HTTPFlow, identity: Identity) -> str:
    name = flow.metadata.get("callerid.name")
    return (
        f"{identity.kind} · {identity.agent_name} · {f'{name} · ' if name else ''}"
        f"{identity.session_id} · {identity.because} {identity.confidence:.2f}"
    )


def _short(count: int) -> str:
    return figures.brief(count, short_from=1000)


def _comment(flow: http.HTTPFlow, words: str) -> None:
    if not flow.comment or flow.is_replay or flow.comment == flow.metadata.get(_COMMENT):
        flow.comment = flow.metadata[_COMMENT] = words


def _mark(flow: http.HTTPFlow, marker: str) -> None:
    if not flow.marked or flow.marked == flow.metadata.get(_MARKER):
        flow.marked = flow.metadata[_MARKER] = marker
