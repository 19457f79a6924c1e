"""What is known of one call: timings, usage, evidence, headers, bodies, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlite_utils import Database

from callerid.archive import calls as archive
from callerid.archive import steps
from callerid.archive.calls import CallFacts
from callerid.archive.compare import Comparison, compare
from callerid.archive.sessions import NotFound
from callerid.archive.transcript import Line, Reader
from callerid.explorer import talk
from callerid.explorer.bytesof import file_name
from callerid.explorer.curl import curl
from callerid.identity.explain import climbed
from callerid.traces import bodies
from callerid.traces.bodies import Body
from callerid.turn import Because, HeaderList
from callerid.wire import wirejson
from callerid.wire.wirejson import NotJSON

PREVIEW = 30_000  # characters of a body
EARLIER = 20  # messages from before that are shown with the new ones


class Preview(NamedTuple):
    """The beginning of a body, and what it is."""

    text: str
    bytes: int
    more: int
    exactness: str


def call_values(database: Database, id: str, args: Mapping[str, str]) -> dict[str, object]:
    """The values of the page; raises NotFound, NotJSON, NotPacked."""
    facts = archive.call(database, id)
    if facts is None:
        raise NotFound(f"there is no call {id!r}")
    (row,) = database.query(
        "select calls.stamped_headers, calls.usage, calls.error_type, calls.error_message,"
        " prompts.text as system from calls"
        " left join prompts on prompts.id = calls.system_message_id where calls.id = ?", [id],
    )  # fmt: skip
    request, reply = bodies.request_body(database, id), bodies.reply_body(database, id)
    before = steps.before(database, id)
    changed = _compared(database, before, id)
    lines = Reader(database).call(id)
    same = _known(database, before, lines, changed.same_messages) if changed else 0
    shows_all = args.get("all") == "1"
    first = 0 if shows_all else max(0, same - EARLIER if same < len(lines) else same)
    return {
        "call": facts, "row": row, "before": before, "after": steps.after(database, id),
        "changed": changed, "same": same,
        "left_out": first,
        "earlier": [m for _, m in talk.messages(lines[first:same])],
        "new": [message for _, message in talk.messages(lines[same:])],
        "system": row["system"] or "",
        "ladder": climbed(Because(facts.because), facts.evidence or "") if facts.because else [],
        "below": _below(facts),
        "headers": bodies.pairs(facts.request_headers),
        "reply_headers": bodies.pairs(facts.reply_headers or "[]"),
        "stamped": _stamped(row["stamped_headers"]),
        "usage": _indented(row["usage"]),
        "members": _members(facts),
        "bodies": [("request", 0, _preview(request)), ("reply", 1, _preview(reply))],
        "curl": curl(facts, request.content, file_name(id, is_reply=False)),
    }  # fmt: skip


def _known(database: Database, before: str, lines: list[Line], same: int) -> int:
    """How many of the first messages were said before: those of the call before, and its reply."""
    answered = [line for line in Reader(database).call(before) if line.is_reply]
    pairs = zip(answered, lines[same:], strict=False)
    return same + sum(talk.is_same(one, two) for one, two in pairs)


def _compared(database: Database, before: str, id: str) -> Comparison | None:
    if not before:
        return None
    try:
        return compare(database, before, id)
    except (NotFound, NotJSON):
        return None  # one of the two was no call that can be read again


def _below(facts: CallFacts) -> list[str]:
    """The rungs that a call never came to."""
    order = [rung.value for rung in Because]
    return order[order.index(facts.because) + 1 :] if facts.because else order[1:]


def _stamped(written: object) -> list[tuple[str, str | None]]:
    """The header edits: a name with what it was set to, or None where it was taken away."""
    found = map(wirejson.sequence, wirejson.sequence(wirejson.decode(str(written).encode())))
    return [(str(name), None if value is None else str(value)) for name, value in found]


def _members(facts: CallFacts) -> HeaderList:
    """The settings in the request's body: its members but for what was said."""
    kept = ("<messages>", "<system>", "<tools>")
    return tuple(pair for pair in bodies.pairs(facts.members) if pair[1] not in kept)


def _indented(written: object) -> str:
    if not written:
        return ""
    value = wirejson.mapping(wirejson.decode(str(written).encode()))
    return "\n".join(f"{name}: {wirejson.encode(it).decode()}" for name, it in value.items())


def _preview(body: Body) -> Preview:
    if body.content is None:
        return Preview("", 0, 0, body.exactness)
    text = body.content[: PREVIEW * 4].decode("utf-8", "replace")[:PREVIEW]
    shown = len(text.encode("utf-8", "replace"))
    return Preview(text, len(body.content), max(0, len(body.content) - shown), body.exactness)
