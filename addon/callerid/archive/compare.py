"""Two calls side by side: what changed in prompt, tools, messages and settings.

A provider reads from its cache what a request has in common with an earlier one, from its beginning
to the first thing that differs: tools, then the system prompt, then the messages, as providers lay
them out (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching,
https://platform.openai.com/docs/guides/prompt-caching). So the first thing that differs is why a
cache was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff

import msgspec
from sqlite_utils import Database

from callerid.archive.sessions import NotFound
from callerid.traces import bodies
from callerid.turn import Call, Stood
from callerid.wire import canonical, wirejson
from callerid.wire.messages import MessageReader
from callerid.wire.parse import parse_call

CACHE_SECONDS = 300  # how long caches are kept where nobody asks for more
_ELSEWHERE = tuple(stood.value for stood in Stood)


class Differing(msgspec.Struct, frozen=True):
    """Names that only the first has, only the second has, or both with other contents."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed)


class Message(msgspec.Struct, frozen=True):
    """A message, and its words."""

    role: str
    text: str


class Comparison(msgspec.Struct, frozen=True):
    """What the second call has otherwise than the first.

    `system` are the lines of a unified diff. `same_messages` is how many messages both begin with;
    `left` and `right` are those that differ there, None where one of the calls has ended.
    `first_difference` is where a cache ends: model, tools, system, messages, or "" where the second
    call has all of the first. `seconds` are from the beginning of the one to that of the other.
    """

    first: str
    second: str
    settings: Differing
    tools: Differing
    tools_reordered: bool
    system: tuple[str, ...]
    same_messages: int
    messages: tuple[int, int]
    left: Message | None
    right: Message | None
    first_difference: str
    seconds: float
    input_tokens: int | None
    cache_read_input_tokens: int | None

    @property
    def why(self) -> str:
        """In a sentence, how far a cache could serve the second call after the first."""
        if self.first_difference == "messages":
            what = f"message {self.same_messages + 1} is another one"
        elif self.first_difference:
            what = f"the {self.first_difference} changed, which is before all messages"
        elif self.seconds > CACHE_SECONDS:
            minutes = round(self.seconds / 60)
            what = (
                f"nothing changed, but {minutes} minutes passed; caches are kept for 5, or longer"
            )
            what += " where that is asked for"
        else:
            what = "nothing changed: the second call goes on from the first"
        read = self.cache_read_input_tokens
        told = (
            "" if read is None else f" ({read:,} of {self.input_tokens or 0:,} tokens were cached)"
        )
        return what + told


def compare(database: Database, first: str, second: str) -> Comparison:
    """What the second call has otherwise than the first; raises NotFound, NotJSON."""
    rows = [_row(database, id) for id in (first, second)]
    one, two = (_call(database, row) for row in rows)
    system = tuple(unified_diff(one.system.splitlines(), two.system.splitlines(), lineterm="", n=2))
    tools_one, tools_two = _tools(one), _tools(two)
    tools = _differing(tools_one, tools_two)
    order = [name for name in tools_one if name in tools_two]
    reordered = order != [name for name in tools_two if name in tools_one]
    same = _same_messages(one, two)
    counts = len(one.messages), len(two.messages)
    ends = (
        ("model", one.model != two.model),
        ("tools", bool(tools) or reordered),
        ("system prompt", bool(system)),
        ("messages", same < counts[0]),
    )
    return Comparison(
        first=first,
        second=second,
        settings=_differing(_settings(one), _settings(two)),
        tools=tools,
        tools_reordered=reordered,
        system=system,
        same_messages=same,
        messages=counts,
        left=_message(one, same),
        right=_message(two, same),
        first_difference=next((name for name, differs in ends if differs), ""),
        seconds=float(str(rows[1]["started_at"])) - float(str(rows[0]["started_at"])),
        input_tokens=_count(rows[1]["total_input_tokens"]),
        cache_read_input_tokens=_count(rows[1]["cache_read_input_tokens"]),
    )


def _row(database: Database, call_id: str) -> dict[str, object]:
    for row in database.query("select * from calls where id = ?", [call_id]):
        return dict(row)
    raise NotFound(f"there is no call {call_id!r}")


def _call(database: Database, row: Mapping[str, object]) -> Call:
    body = bodies.request_body(database, str(row["id"])).content
    reader = MessageReader(canonical.injected_pattern([]))
    call = parse_call(str(row["path"]), body or b"", reader)
    if call is None:
        raise NotFound(f"the request of call {row['id']} is not on record: it cannot be compared")
    return call


def _tools(call: Call) -> dict[str, bytes]:
    """The tools by name, each as JSON that does not depend on how it was written."""
    return {name: wirejson.encode_sorted(tool) for name, tool in declared(call)}


def declared(call: Call) -> list[tuple[str, object]]:
    """The tools of a call by name, as its dialect writes them."""
    tools = wirejson.decode(call.tools_raw) if call.tools_raw else []
    tools = tools.get("tools", tools) if isinstance(tools, dict) else tools
    return [found for tool in wirejson.sequence(tools) for found in _declared(tool)]


def _declared(tool: object) -> list[tuple[str, object]]:
    """The tools that one entry declares, as dialects write them: Gemini has several in one."""
    several = wirejson.at(tool, "functionDeclarations") or wirejson.at(
        tool, "function_declarations"
    )
    if several:
        return [(_name(each), each) for each in wirejson.sequence(several)]
    return [(_name(tool), tool)]


def _name(tool: object) -> str:
    places = (("name",), ("function", "name"), ("toolSpec", "name"), ("type",))
    return next(filter(None, (wirejson.string(wirejson.at(tool, *place)) for place in places)), "?")


def _settings(call: Call) -> dict[str, bytes]:
    """The members that are neither prompt, tools nor messages."""
    return {
        name: wirejson.encode_sorted(wirejson.decode(raw))
        for name, raw in call.members
        if raw not in _ELSEWHERE
    }


def _differing(one: dict[str, bytes], two: dict[str, bytes]) -> Differing:
    return Differing(
        removed=tuple(name for name in one if name not in two),
        added=tuple(name for name in two if name not in one),
        changed=tuple(name for name in one if name in two and one[name] != two[name]),
    )


def _same_messages(one: Call, two: Call) -> int:
    pairs = zip(one.messages, two.messages, strict=False)
    differs = (at for at, (a, b) in enumerate(pairs) if (a.role, a.parts) != (b.role, b.parts))
    return next(differs, min(len(one.messages), len(two.messages)))


def _message(call: Call, at: int) -> Message | None:
    if at >= len(call.messages):
        return None
    message = call.messages[at]
    return Message(message.role, message.text or "(no words)")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
