"""What traces.db takes: of disk, for what was said in it, and of the processor, for each call.

The calls are those of agents written by us (lab/agentwork), and where shared/corpora lies beside
the checkout, of the first 1,000 sessions that are recorded there.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from callerid.guard import Guard
from callerid.prices import Prices
from callerid.recordings import calls
from callerid.settings.load import load
from callerid.settings.values import RecordSettings
from callerid.traces.discretion import discretion
from callerid.traces.record import ThreadRecorder
from callerid.traces.rows import Entry, State
from callerid.traces.write import Writer
from lab import copies
from lab.agentwork import Turn, session
from lab.load import Wrong
from lab.played import Sink, desk_for, play, varied

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "sessions.jsonl.xz"
Content = Literal["full", "redacted", "none"]
LONG_TURNS = 400
HUNDRED = 100
SESSIONS = 1_000
RATE = 2_000  # calls a second
TEMPLATES = 4_000  # calls that are read beforehand, and then come again with other words
_TICK = 0.01


class Size(NamedTuple):
    """Bytes: of the requests seen, of traces.db, of the same calls as plain JSON lines."""

    calls: int
    seen: int
    database: int
    lines: int


class Tally:
    """Writes entries into a traces.db, and counts what they would be as JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = Writer(path, Prices(load().prices))
        self._asked: dict[str, int] = {}
        self.calls = self.seen = self.lines = 0

    def write(self, entries: list[Entry]) -> None:
        """Write some entries; raises Wrong."""
        if trouble := self._writer.write(entries):
            raise Wrong(trouble)
        for entry in entries:
            if entry.state is State.IN_FLIGHT:
                self._asked[entry.id] = len(entry.body)
                continue
            messages = entry.reply.messages if entry.reply else ()
            asked = self._asked.pop(entry.id)
            self.calls += 1
            self.seen += asked
            self.lines += asked + len(_LINE) + sum(len(message.raw) + 1 for message in messages)

    def size(self) -> Size:
        """The bytes so far, after a checkpoint."""
        return Size(self.calls, self.seen, _bytes_on_disk(self._path), self.lines)

    def close(self) -> None:
        self._writer.close()


_LINE = '{"request":,"reply":[]}\n'


def print_storage(console: Console, minutes: float, *, is_quick: bool) -> None:
    """Measure, and print; raises Wrong."""
    with _folder() as folder, console.status("measuring"):
        table = Table(title="traces.db and what was said in it", title_justify="left")
        for name in ("", "calls", "requests\nbytes", "traces.db\nbytes", "JSON lines\nbytes",
                     "times\nsmaller"):  # fmt: skip
            table.add_column(name, justify="right" if name else "left")
        turns = HUNDRED if is_quick else LONG_TURNS
        size, growths = _long_session(Path(folder) / "long.db", turns)
        _add(table, f"one session of {turns} turns", size)
        words = f"skipped: {CORPUS.relative_to(CORPUS.parents[2])} is missing"
        if CORPUS.exists() and not is_quick:
            _add(table, f"{SESSIONS:,} recorded sessions", _corpus(Path(folder) / "corpus.db"))
            words = ""
        console.print(table)
        console.print(_told(growths))
        if words and not is_quick:
            console.print(f"recorded sessions: {words}")
        if minutes:
            for content in ("full", "redacted", "none"):
                told = _sustained(Path(folder) / f"{content}.db", 60 * minutes, content)
                console.print(f"{content}: {told}")


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lab-storage-", ignore_cleanup_errors=True)


def _add(table: Table, name: str, size: Size) -> None:
    figures = (f"{figure:,}" for figure in size)
    table.add_row(name, *figures, f"{size.lines / size.database:.1f}")


class Growth(NamedTuple):
    """Bytes a turn, for a hundred turns: of the newest request, and of traces.db."""

    request: float
    database: float


def _told(growths: list[Growth]) -> str:
    requests, database = (
        ", ".join(f"{bytes_a_turn:,.0f}" for bytes_a_turn in each)
        for each in zip(*growths, strict=True)
    )
    return (
        f"Of the long session, for each {HUNDRED} turns: a turn adds {database} bytes to "
        f"traces.db, and {requests} to its newest request"
    )


def _long_session(path: Path, turns: int) -> tuple[Size, list[Growth]]:
    """The size of one long session, and by how much each hundred turns let it grow."""
    sink, tally = Sink(), Tally(path)
    sizes: list[tuple[int, int, int]] = []
    with desk_for(sink) as desk:
        for at, turn in enumerate(session(1, turns), 1):
            play(desk, turn, 1000.0 + at)
            tally.write(sink.taken())
            if at == 1 or at % HUNDRED == 0:
                sizes.append((at, len(turn.request.body), tally.size().database))
    tally.close()
    growths = [
        Growth((body - body_before) / (at - before), (size - size_before) / (at - before))
        for (before, body_before, size_before), (at, body, size) in itertools.pairwise(sizes)
    ]
    return tally.size(), growths


def _corpus(path: Path) -> Size:
    sink, tally = Sink(), Tally(path)
    sink.most_sessions = SESSIONS
    with desk_for(sink) as desk:
        for line in calls.read(CORPUS, lambda file: iter(())):
            if line.call is None:
                raise Wrong(f"{CORPUS.name}:{line.number}: {line.trouble}")
            reply = line.call.reply or b""
            turn = Turn(line.call.request, "application/json", (reply,))
            play(desk, turn, line.call.t, line.call.t_response)
            tally.write(sink.taken())
    tally.close()
    return tally.size()


def _sustained(path: Path, seconds: float, content: Content) -> str:
    """What becomes of a load that goes on, in words; raises Wrong where a record is lost."""
    sink = Sink()
    with desk_for(sink) as desk:
        for at, turn in enumerate(varied(TEMPLATES)):
            play(desk, turn, 1000.0 + at * _TICK)
    guard, shipped = Guard(), load()
    record = RecordSettings(content=content)
    shipped = replace(shipped, settings=replace(shipped.settings, record=record))
    discreetly = discretion(shipped, guard)
    recorder = ThreadRecorder(path, record, guard, Prices(shipped.prices), discreetly)
    try:
        fed = _feed(recorder, copies.endlessly(sink.taken()), seconds)
        ended = time.monotonic()
        while recorder.depth:
            time.sleep(_TICK)
        waited = time.monotonic() - ended
        spent = time.clock_gettime(time.pthread_getcpuclockid(recorder.thread_id))
    finally:
        recorder.close(60)
    if guard.counts:
        raise Wrong(f"the recorder counted {dict(guard.counts)}")
    return (
        f"Sustained: {fed.calls / fed.seconds:,.0f} calls/s for {fed.seconds:.0f} s, "
        f"{fed.calls:,} calls, none dropped; at most {fed.deepest:,} rows waited, the last were "
        f"written {waited:.1f} s later; {spent / fed.calls * 1e6:.0f} µs of the writer's thread "
        f"a call, {_bytes_on_disk(path) / fed.calls:,.0f} bytes of disk"
    )


class Fed(NamedTuple):
    """What a recorder was given, and how many rows waited at most."""

    calls: int
    seconds: float
    deepest: int


def _feed(recorder: ThreadRecorder, feed: Iterator[copies.Pair], seconds: float) -> Fed:
    """Give a recorder so many calls a second for some time; raises Wrong where one is dropped."""
    taken, deepest, began = 0, 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        for pair in itertools.islice(feed, int(RATE * elapsed) - taken):
            if not (recorder.put(pair.begun) and recorder.put(pair.ended)):
                raise Wrong(
                    f"the writer keeps up with less than {RATE:,} calls/s: its queue was full "
                    f"after {elapsed:.1f} s, when it had written {taken:,} calls"
                )
            taken += 1
        deepest = max(deepest, recorder.depth)
        time.sleep(_TICK)
    return Fed(taken, time.monotonic() - began, deepest)


def _bytes_on_disk(path: Path) -> int:
    """The size of a traces.db once all that was written is in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    return os.path.getsize(path)
