"""From bytes to values: the call that a request makes, and the reply that came back."""

from __future__ import annotations

import msgspec

from callerid.turn import Call, Dialect, HeaderList, Reply, Usage
from callerid.wire import bodies, dialects, frames, sse, wirejson
from callerid.wire.dialects.bedrock_invoke import usage_in
from callerid.wire.framing import PARSERS, EventParser, Framing, framing
from callerid.wire.messages import MessageReader

PAGE_BYTES = 1000  # of a body that is no JSON: enough to see whose page it is


def may_be_call(method: str, path: str) -> bool:
    """Whether a request can be an LLM call at all, before its body is looked at.

    WEBSOCKET is what we call the method of a call in a frame.
    """
    return method in ("POST", "WEBSOCKET") and bool(dialects.by_path(path))


def may_hold_calls(path: str) -> bool:
    """Whether the frames of a WebSocket may hold calls."""
    return bool(frames.PATH.search(path.partition("?")[0].rstrip("/")))


def parse_call(path: str, body: bytes, reader: MessageReader) -> Call | None:
    """The call that a request makes; None where it is none of ours. Raises NotJSON."""
    path = path.partition("?")[0].rstrip("/")
    recognised = dialects.by_shape(dialects.by_path(path), body, reader.bodies)
    if recognised is None:
        return None
    return recognised.dialect.read_call(path, recognised.members, reader)


def parse_reply(dialect: Dialect, status: int, body: bytes, reader: MessageReader) -> Reply:
    """The reply that a whole, unpacked, unstreamed body makes; never fails.

    A body that is no JSON (a gateway's error page, say) is the message, as far as it is kept.
    """
    try:
        reply = dialects.reader_of(dialect).read_reply(wirejson.decode(body), reader)
    except wirejson.NotJSON:
        page = body[:PAGE_BYTES].decode("utf-8", "replace")
        reply = Reply(error_message=page, complete=False)
    if status >= 400 and not reply.error:
        return msgspec.structs.replace(reply, error=f"http_{status}")
    return reply


class ReplyReader:
    """Reads a reply beside its stream: packed bytes in as they come, at the end the Reply.

    `body` are its bytes as they came, unpacked, as long as they are no more than `most_bytes`; else
    None. Its headers say how it is packed and framed, and may be all that counts its tokens. Broken
    events are skipped and counted; bytes that are no events are read as one body. Raises
    BadEncoding where it is packed in a way that we do not know.
    """

    def __init__(
        self, dialect: Dialect, headers: HeaderList, reader: MessageReader, most_bytes: int = 0
    ) -> None:
        self.broken_events = 0
        self.body: list[bytes] | None = []
        self.size = 0
        self._most_bytes = most_bytes
        self._dialect = dialect
        self._reader = reader
        self._unpacker = bodies.unpacker(_value(headers, "content-encoding"))
        self._content_type = _value(headers, "content-type")
        self._counted = usage_in(headers)
        self._framing: Framing | None = None
        self._events: EventParser | None = None
        self._stream = dialects.reader_of(dialect).Stream()
        self._plain = bytearray()  # of a whole reply, or until it is known to be none

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; raises BadEncoding, and ValueError where an event has no end."""
        plain = self._unpacker.feed(chunk)
        self._keep(plain)
        if self._events is not None:
            self._take(self._events.feed(plain))
            return
        self._plain += plain
        if self._framing is None:
            self._recognise()

    def _keep(self, plain: bytes) -> None:
        self.size += len(plain)
        if self.size > self._most_bytes:
            self.body = None
        elif plain and self.body is not None:
            self.body.append(plain)

    @property
    def is_complete(self) -> bool:
        """Whether the provider has said in the stream that the reply is over."""
        return self._events is not None and self._stream.is_complete

    def reply(self, status: int) -> Reply:
        """The reply as far as it has come."""
        reply = self._read(status)
        if reply.usage == Usage():
            return msgspec.structs.replace(reply, usage=self._counted)
        return reply

    def _read(self, status: int) -> Reply:
        if self._events is None:
            return parse_reply(self._dialect, status, bytes(self._plain), self._reader)
        reply = dialects.reader_of(self._dialect).read_reply(self._stream.body(), self._reader)
        error = reply.error or (f"http_{status}" if status >= 400 else "")
        return msgspec.structs.replace(reply, complete=self._stream.is_complete, error=error)

    def finish(self, status: int) -> Reply:
        """The reply at the end of the bytes, complete or cut off."""
        if self._events is not None:
            self._take(self._events.close())
        return self.reply(status)

    def _recognise(self) -> None:
        self._framing = framing(self._content_type, bytes(self._plain))
        make = PARSERS.get(self._framing) if self._framing else None
        if make is not None:
            self._events = make()
            begun, self._plain = bytes(self._plain), bytearray()
            self._take(self._events.feed(begun))

    def _take(self, events: list[sse.Event]) -> None:
        for event in events:
            try:
                self._stream.take(event)
            except wirejson.NotJSON:
                self.broken_events += 1


def _value(headers: HeaderList, name: str) -> str:
    return ", ".join(value for key, value in headers if key.lower() == name)
