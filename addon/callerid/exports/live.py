"""Sends a span for each call while the proxy runs: from a thread of its own, within bounds."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from callerid import credentials
from callerid.archive.calls import CallFacts, Spoken
from callerid.exports import otlp, spans
from callerid.exports.attributes import Attributes
from callerid.exports.spans import Span, Style
from callerid.guard import Guard
from callerid.prices import Prices, used
from callerid.settings.values import OtlpSettings
from callerid.traces import rows
from callerid.traces.discretion import Discretion
from callerid.traces.rows import Entry
from callerid.traces.write import priced
from callerid.turn import Reply
from callerid.wire import wirejson

MOST_SPANS = 100  # a request


class Sending(Protocol):
    """What hands spans over to a collector."""

    def send(self, batch: list[Span]) -> bool:
        """Hand spans over; False where they are not taken."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class _Waiting(NamedTuple):
    """A call that has ended, whether it began its session, and how many bytes it keeps."""

    entry: Entry
    begins_session: bool
    size: int


class LiveExport:
    """Takes calls that have ended from the proxy's loop without waiting, and sends their spans.

    What finds no room, or is not taken, is dropped, counted and said by the guard. Nothing is told
    that `discretion` would not let be written down.
    """

    def __init__(
        self, settings: OtlpSettings, prices: Prices, guard: Guard,
        sender: Callable[[], Sending] | None = None, discretion: Discretion | None = None,
    ) -> None:  # fmt: skip
        self.sent = 0  # spans
        self._settings = settings
        self._prices = prices
        self._guard = guard
        self._discretion = discretion or Discretion()
        self._style = Style(
            settings.conventions, spans.newest_names(os.environ), settings.content
        )  # fmt: skip
        self._sender = sender or (
            lambda: otlp.Sender(settings.endpoint, settings.headers, settings.timeout_seconds)
        )
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(settings.queue_size)
        # Each is counted by one thread only, and so without a lock.
        self._taken_bytes = self._finished_bytes = 0
        self._under_way = 0  # calls that are being sent
        self._is_given_up = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callerid-export", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many calls wait, those that are being sent among them."""
        return self._queue.qsize() + self._under_way

    def put(self, entry: Entry, *, begins_session: bool) -> None:
        """Take a call that has ended; without content only its numbers and names are kept."""
        if self._settings.content:
            size = entry.request_bytes + (entry.reply_bytes or 0)
        else:
            entry = _without_content(entry)
            size = len(entry.call.system_raw)
        in_use = self._taken_bytes - self._finished_bytes
        if in_use and in_use + size > self._settings.queue_bytes:
            self._drop()
            return
        try:
            self._queue.put_nowait(_Waiting(entry, begins_session, size))
        except queue.Full:
            self._drop()
            return
        self._taken_bytes += size

    def _drop(self) -> None:
        self._guard.note("export_dropped", "the collector is too slow: a span was dropped")

    def close(self, timeout: float) -> None:
        """Send what waits, for at most so many seconds, and stop."""
        self._is_closing.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass  # the thread sees that it is closing as soon as it has sent its batch
        self._thread.join(timeout)
        with self._queue.mutex:
            left = self._under_way + sum(one is not None for one in self._queue.queue)
        if self._thread.is_alive() and left:
            self._is_given_up = True
            words = f"{self._settings.endpoint}: the spans of {left:,} calls were not taken in time"
            self._guard.note("export_dropped", f"{words} at the end", left)

    def _run(self) -> None:
        sender: Sending | None = None
        while batch := self._batch():
            calls = [one for one in batch if one is not None]
            self._under_way = len(calls)
            with self._guard("export"):
                sender = sender or self._sender()
                self._send(sender, calls)
            self._under_way = 0
            self._finished_bytes += sum(one.size for one in calls)
            if None in batch or (self._is_closing.is_set() and self._queue.empty()):
                break
        if sender is not None:
            with self._guard("export"):
                sender.close()

    def _send(self, sender: Sending, calls: list[_Waiting]) -> None:
        made: list[Span] = []
        for call in calls:
            with self._guard("export"):
                made += self._spans(call)
        if made and sender.send(made):
            self.sent += len(made)
        elif made and not self._is_given_up:
            words = f"{self._settings.endpoint} does not take spans: they are dropped"
            self._guard.note("export_failed", words, len(made))

    def _spans(self, waiting: _Waiting) -> list[Span]:
        entry = priced(waiting.entry, self._prices)
        hidden = rows.secrets_of(entry)
        entry = self._discretion.asked(self._discretion.answered(entry).entry).entry
        facts = facts_of(entry, hidden)
        reply = entry.reply or Reply()
        spoken = Spoken(entry.call, reply.messages) if self._settings.content else None
        call = spans.of_call(facts, spoken, self._style)
        made = [call._replace(attributes=_shown(call.attributes, hidden))]
        if waiting.begins_session:
            session = spans.of_session(facts, call.began, call.ended, self._style)
            made[:0] = [session] if session is not None else []
        return made

    def _batch(self) -> list[_Waiting | None]:
        """What ends within the flush time, at least one."""
        batch = [self._queue.get()]
        deadline = time.monotonic() + self._settings.flush_seconds
        while len(batch) < MOST_SPANS and batch[-1] is not None:
            rest = deadline - time.monotonic()
            try:
                at_once = rest <= 0 or self._is_closing.is_set()
                batch.append(self._queue.get(block=not at_once, timeout=max(rest, 0.001)))
            except queue.Empty:
                break
        return batch


def _without_content(entry: Entry) -> Entry:
    """A call that keeps nothing of what was said in memory.

    But its prompt, by which it is seen whether the agent may be called by its name.
    """
    call = replace(entry.call, messages=(), tools_raw=b"")
    reply = entry.reply and replace(entry.reply, messages=(), others=())
    return replace(entry, call=call, reply=reply, reply_body=None, body=b"")


def facts_of(entry: Entry, hidden: tuple[str, ...]) -> CallFacts:
    """What is known of a call that has ended, as it will be on record, without secrets."""
    identity = entry.identity
    total = used(entry.call, entry.reply)
    members = [(name, raw.decode("utf-8", "replace")) for name, raw in entry.call.members]
    stored: rows.Row = {"members": wirejson.encode(members).decode()}
    row = rows.call_row(entry, hidden, stored) | {
        "input_tokens": total.total_input_tokens,
        "output_tokens": total.total_output_tokens,
        "cost_usd": entry.cost_usd,
    }
    if identity is not None:
        row |= {
            "agent": identity.agent_name or None,
            "client": identity.client_name or None,
            "parent_session_id": identity.parent_session_id or None,
            "root_session_id": identity.root_session_id,
            "relation": identity.relation.value if identity.relation else None,
        }
    return msgspec.convert(row, CallFacts, strict=False)


def _shown(attributes: Attributes, hidden: tuple[str, ...]) -> Attributes:
    """Attributes without the call's own credentials, should somebody have said them."""
    return {
        name: credentials.without(value.encode("utf-8", "replace"), hidden).decode(
            "utf-8", "replace"
        )
        if isinstance(value, str)
        else value
        for name, value in attributes.items()
    }
