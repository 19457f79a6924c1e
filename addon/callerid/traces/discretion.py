"""How much of what was said is written down: all, all but secrets, or no word.

It stands before the rows are made: what an entry no longer holds, no row can.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from callerid.credentials import MASK
from callerid.guard import Guard
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration
from callerid.stamp.stamper import Edit
from callerid.traces.hook import hook
from callerid.traces.redaction import Redaction
from callerid.traces.rows import Entry, Exactness, Row
from callerid.traces.unsaid import unsaid
from callerid.turn import Message, Part, Reply, Stood, Text, ToolCall, ToolResult
from callerid.wire import wirejson

REMEMBERED_BYTES = 16 << 20  # of messages, prompts and tools; two generations of them
_MOST_NUMBER = 10**9  # a setting; a larger one may be a number of somebody's
_SETTING = re.compile(r"[A-Za-z_][A-Za-z_.]{0,40}")
_QUOTED = re.compile(r"""(["']).*\1""", re.DOTALL)  # evidence may quote the words that decided
NAMELESS = "agent"  # the name of one whose name may be words of its prompt
Name = TypeVar("Name")
Known = TypeVar("Known")


class Shown(NamedTuple):
    """What may be written of an entry, and whether that is all of what it says."""

    entry: Entry
    is_whole: bool = True


class Discretion:
    """Lets all through: what the call's own credential needs is done when rows are made."""

    def asked(self, entry: Entry) -> Shown:
        """What may be written of a request."""
        return Shown(entry)

    def answered(self, entry: Entry) -> Shown:
        """What may be written of a reply."""
        return Shown(entry)

    def row(self, row: Row, *, is_whole: bool) -> Row:
        """The columns of a request as they may be written."""
        return row


class Redacted(Discretion):
    """Lets through what holds no secret, and masks what does.

    A history comes again with every call as the same objects, and each is looked through once.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._messages: _Generations[int, tuple[Message, Message]] = _Generations()
        self._prompts: _Generations[bytes, bytes] = _Generations()

    def asked(self, entry: Entry) -> Shown:
        """What may be written of a request."""
        text, call = self._redaction.text, entry.call
        messages = tuple(map(self._message, call.messages))
        system_raw, tools_raw = self._prompt(call.system_raw), self._prompt(call.tools_raw)
        members = tuple(
            (text(name), raw if isinstance(raw, Stood) else self._prompt(raw))
            for name, raw in call.members
        )
        is_whole = (
            all(one is other for one, other in zip(messages, call.messages, strict=True))
            and (system_raw, tools_raw, members) == (call.system_raw, call.tools_raw, call.members)
        )  # fmt: skip
        call = replace(
            call,
            model=text(call.model),
            messages=messages,
            members=members,
            system=call.system if system_raw == call.system_raw else text(call.system),
            system_raw=system_raw,
            tools=tuple(map(text, call.tools)),
            tools_raw=tools_raw,
        )
        body = entry.body if is_whole else b""
        is_named = system_raw == entry.call.system_raw  # else its name may be of a secret
        return Shown(_enveloped(replace(entry, call=call, body=body), text, is_named), is_whole)

    def answered(self, entry: Entry) -> Shown:
        """What may be written of a reply.

        One in a stream is not kept as it came: it cuts secrets into pieces that nobody finds.
        """
        reply, text = entry.reply, self._redaction.text
        headers = tuple((name, text(value)) for name, value in entry.reply_headers)
        entry = replace(entry, error=text(entry.error), reply_headers=headers)
        is_whole = True
        if reply is not None:
            messages = tuple(map(self._message, reply.messages))
            is_whole = all(
                one is other for one, other in zip(messages, reply.messages, strict=True)
            )
            usage = replace(reply.usage, raw=self._prompt(reply.usage.raw))
            reply = replace(
                reply, messages=messages, others=(), usage=usage, error=text(reply.error),
                error_message=text(reply.error_message), stop_reason=text(reply.stop_reason),
                model=text(reply.model), response_id=text(reply.response_id),
            )  # fmt: skip
            entry = replace(entry, reply=reply)
        if entry.reply_body is None:
            return Shown(entry, is_whole)
        body = b"".join(entry.reply_body)
        if not _is_json(body):
            return Shown(replace(entry, reply_body=None), is_whole)
        shown = self._redaction.json(body)
        kept = entry.reply_body if shown is body else (shown,)
        return Shown(replace(entry, reply_body=kept), is_whole and shown is body)

    def row(self, row: Row, *, is_whole: bool) -> Row:
        """The columns of a request: no bytes that were not looked through."""
        if not is_whole or row["request_patch"] is not None:
            return row | {"request_patch": None, "request_exactness": Exactness.REDACTED.value}
        return row

    def _message(self, message: Message) -> Message:
        known = self._messages.get(id(message))
        if known is None:
            known = message, self._looked_through(message)  # kept, or its id would be another's
            self._messages.keep(id(message), known, len(message.raw))
        return known[1]

    def _looked_through(self, message: Message) -> Message:
        raw = self._redaction.json(message.raw)
        if raw is message.raw:  # its parts say no more than it does
            return message
        return replace(message, raw=raw, parts=tuple(map(self._part, message.parts)))

    def _part(self, part: Part) -> Part:
        text = self._redaction.text
        if isinstance(part, Text):
            return Text(text(part.text))
        if isinstance(part, ToolResult):
            return ToolResult(part.call_id, text(part.text))
        if isinstance(part, ToolCall):
            return ToolCall(text(part.id), text(part.name), self._redaction.value(part.arguments))
        return part

    def _prompt(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        known = self._prompts.get(raw)
        if known is None:
            known = self._redaction.json(raw)
            self._prompts.keep(raw, known, len(raw))
        return known


class Silent(Discretion):
    """Lets no word through: tokens, timings, identity, and of what was said the digests."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._messages: _Generations[int, tuple[Message, Message]] = _Generations()

    def asked(self, entry: Entry) -> Shown:
        """What may be written of a request."""
        call = replace(
            entry.call,
            messages=tuple(map(self._message, entry.call.messages)),
            members=tuple(filter(_is_harmless, entry.call.members)),
            system="", system_raw=b"", tools=(), tools_raw=b"",
        )  # fmt: skip
        entry = _enveloped(replace(entry, call=call, body=b""), self._redaction.text, False)
        if entry.identity is not None:
            evidence = _QUOTED.sub(MASK, entry.identity.evidence)
            entry = replace(entry, identity=replace(entry.identity, evidence=evidence))
        return Shown(entry, False)

    def answered(self, entry: Entry) -> Shown:
        """What may be written of a reply."""
        reply = entry.reply
        if reply is not None:
            reply = Reply(
                messages=tuple(map(self._message, reply.messages)), stop_reason=reply.stop_reason,
                model=reply.model, response_id=reply.response_id, error=reply.error,
                usage=replace(reply.usage, raw=b""), complete=reply.complete,
            )  # fmt: skip
        text = self._redaction.text
        headers = tuple((name, text(value)) for name, value in entry.reply_headers)
        entry = replace(entry, error=text(entry.error), reply_headers=headers)
        return Shown(replace(entry, reply=reply, reply_body=None), False)

    def row(self, row: Row, *, is_whole: bool) -> Row:
        """The columns of a request as they may be written."""
        return row | {"request_patch": None, "request_exactness": Exactness.ABSENT.value}

    def _message(self, message: Message) -> Message:
        known = self._messages.get(id(message))
        if known is None:
            # The digest of a secret tells it to whoever tries: there are only so many cards.
            is_secret = self._redaction.json(message.raw) is not message.raw
            known = message, unsaid(replace(message, units=()) if is_secret else message)
            self._messages.keep(id(message), known, len(message.raw))
        return known[1]


class _Generations(Generic[Name, Known]):
    """What was looked through of late, within a bound."""

    def __init__(self) -> None:
        self._size = 0
        self._young: dict[Name, Known] = {}
        self._old: dict[Name, Known] = {}

    def get(self, name: Name) -> Known | None:
        """What came of something, if it is known; it is young then."""
        known = self._young.get(name)
        return self._old.get(name) if known is None else known

    def keep(self, name: Name, known: Known, size: int) -> None:
        """Keep what came of something of so many bytes."""
        self._size += size
        if self._size > REMEMBERED_BYTES:
            self._old, self._young, self._size = self._young, {}, size
        self._young[name] = known


def discretion(configuration: Configuration, guard: Guard) -> Discretion:
    """What the settings ask for; raises BadSetting."""
    record = configuration.settings.record
    if record.redact and record.content != "redacted":
        raise BadSetting(
            f"record.redact = {record.redact!r}, but it is asked only where record.content is "
            f"redacted, and it is {record.content}"
        )
    if record.content == "full":
        return Discretion()
    redaction = Redaction(configuration.secrets.secrets, hook(record.redact), guard)
    return Silent(redaction) if record.content == "none" else Redacted(redaction)


def _enveloped(entry: Entry, text: Callable[[str], str], is_named: bool) -> Entry:
    """The entry with the texts beside what was said as they may be written down.

    Without `is_named` the agent's name may hold words of its prompt, and is not its own.
    """
    request, found = entry.request, entry.identity
    headers = tuple((name, text(value)) for name, value in request.headers)
    client = replace(request.client, user_agent=text(request.client.user_agent))
    request = replace(request, headers=headers, path=text(request.path), client=client)
    edits = tuple(Edit(edit.name, edit.value and text(edit.value)) for edit in entry.edits)
    if found is not None:
        name = text(found.agent_name) if is_named else found.client_name or NAMELESS
        if found.agent_name and name != found.agent_name:
            edits = tuple(
                Edit(each.name, each.value and each.value.replace(found.agent_name, name))
                for each in edits
            )
        found = replace(found, agent_name=name, evidence=text(found.evidence))
    return replace(entry, request=request, identity=found, edits=edits)


def _is_harmless(member: tuple[str, bytes]) -> bool:
    """Whether a member is the model, a switch or a small number; or where messages stood."""
    name, raw = member
    if raw == Stood.MESSAGES or name == "model":
        return True
    if isinstance(raw, Stood) or not _SETTING.fullmatch(name):
        return False
    try:
        value = wirejson.decode(raw)
    except wirejson.NotJSON:
        return False
    return value is None or (isinstance(value, (int, float)) and abs(value) < _MOST_NUMBER)


def _is_json(body: bytes) -> bool:
    try:
        wirejson.decode(body)
    except wirejson.NotJSON:
        return False
    return True
