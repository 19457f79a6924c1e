"""The session tree, to look at in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from rich.text import Text
from rich.tree import Tree

from callerid.archive.sessions import Cost, SessionFacts, costs_with_children, parents_first
from callerid.commands.reading import shown, tokens
from callerid.figures import duration, plural


def draw(sessions: Iterable[SessionFacts]) -> Tree:
    """The sessions as a tree: roots, and below each the sessions that came from it.

    A session that others came from is told with what it cost with them.
    """
    ordered = parents_first(sessions)
    whole = costs_with_children(ordered)
    costs = [whole[each.id] for each in ordered if each.parent_session_id not in whole]
    cost = reduce(Cost.plus, costs, Cost())
    tree = Tree(f"{plural(len(ordered), 'session')} · {cost}", guide_style="dim")
    nodes: dict[str, Tree] = {}
    for session in ordered:
        above = nodes.get(session.parent_session_id, tree)
        nodes[session.id] = above.add(_label(session, whole[session.id]))
    return tree


def _label(session: SessionFacts, whole: Cost) -> Text:
    label = Text(shown(session.id), style="bold")
    if session.name:
        label.append(shown(f" · {session.name}"), style="bold yellow")
    relation = f" · {session.relation}" if session.relation else ""
    failures = f", {session.failures} failed" if session.failures else ""
    label.append(shown(f" · {session.agent or session.client}{relation}"), style="cyan")
    calls = plural(session.calls, "call")
    cost = str(session.cost) + (f" ({whole} with its own)" if whole != session.cost else "")
    used = tokens(session.input_tokens, session.output_tokens)
    label.append(
        f" · {calls}{failures} · {shown(', '.join(session.models))} · {used} tokens · {cost}"
        f" · {duration(session.seconds)}\n"
    )
    evidence = shown(session.evidence)
    label.append(f"{session.because} {session.confidence:.2f}: {evidence}", style="dim")
    return label
