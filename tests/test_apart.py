"""The recorder with a process of its own: writes what a thread would, and may go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import crashing
from callerid.guard import Guard
from callerid.identity.switchboard import message_reader
from callerid.settings.load import load
from callerid.settings.values import RecordSettings
from callerid.traces import parcels
from callerid.traces.apart import ApartRecorder
from callerid.traces.parcels import Lost, Packer, Unpacker
from callerid.traces.rows import Entry, State
from office import anthropic_reply, office, text
from test_record import entry, on_record

DEADLINE_SECONDS = 20.0


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@contextmanager
def recorder(path: Path, guard: Guard, **settings: Any) -> Iterator[ApartRecorder]:
    record = RecordSettings(**{"flush_seconds": 0.01} | settings)
    configuration = load()
    at_work = ApartRecorder(
        path,
        msgspec.structs.replace(
            configuration, settings=msgspec.structs.replace(configuration.settings, record=record)
        ),
        guard,
    )
    try:
        yield at_work
    finally:
        at_work.close(DEADLINE_SECONDS)


def eventually(is_so: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def said_in(parcel: parcels.Parcel) -> list[tuple[object, bytes]]:
    """What a parcel says of each entry, with what is new in its body."""
    whole = b"".join(parcel)
    pickled, bodies = parcels.lengths(whole[: parcels.HEAD_BYTES])
    rest = whole[parcels.HEAD_BYTES :]
    assert len(rest) == pickled + bodies
    return list(parcels.unpacked(parcels.opened(rest[:pickled]), rest[pickled:]))


def carried(entries: list[Entry], together: int = 1) -> list[Entry]:
    """Entries as they are at the other end, so many of them going in a parcel."""
    packer, unpacker = Packer(Guard()), Unpacker(message_reader(load()))
    return [
        unpacker.unpack(said, new)
        for some in batched(entries, together)
        for said, new in said_in(packer.pack(some))
    ]


def batched(entries: list[Entry], size: int) -> list[list[Entry]]:
    return [entries[at : at + size] for at in range(0, len(entries), size)]


def test_entries_come_as_they_were(path: Path) -> None:
    entries: list[Entry] = []
    with office(path) as at:
        put = at.setup._recorder.put  # type: ignore[union-attr]

        def spied(each: Entry) -> bool:
            entries.append(each)
            return put(each)

        at.setup._recorder.put = spied  # type: ignore[union-attr, method-assign]
        said: list[Any] = []
        for number in range(3):
            said.append(
                {"role": "user", "content": f"Name river {number}. \ud83d" if number else "?"}
            )
            body = {"model": "m", "system": "Be kind.", "tools": [{"name": "a"}], "messages": said}
            headers = (("authorization", "Bearer sk-1234567890"), ("x-odd", "\udcff"))
            at.call("/v1/messages", body, anthropic_reply(text("The Danube.")), headers=headers)
            said.append({"role": "assistant", "content": "The Danube."})
        at.call("/v1/embeddings", {"model": "e", "input": ["a"]}, {"data": []})
        at.call("/v1/responses", {"model": "m", "input": "Hello"}, b"data: {}\n\n", status=500)

    assert [each.state for each in entries][:2] == [State.IN_FLIGHT, State.OK]
    assert len(entries) == 10
    # What has ended needs the body no more, which only what begins has.
    assert carried(entries) == entries
    assert carried(entries, together=4) == entries


def test_an_end_without_its_beginning_is_told_from_one_with_it() -> None:
    begun = msgspec.structs.replace(entry("c1", state=State.IN_FLIGHT), body=b'{"messages":[]}')
    first, second = Packer(Guard()), Packer(Guard())
    first.pack([begun])
    _, pickled = first.pack([entry("c1")]), second.pack([entry("c1")])
    assert carried([entry("c1")]) == [entry("c1")]
    assert len(pickled) == 1

    ended = first.pack([begun]), first.pack([entry("c1")])
    unpacker = Unpacker(message_reader(load()))
    with pytest.raises(Lost, match="c1: how it ended has come, but not how it began"):
        unpacker.unpack(*said_in(ended[1])[0])
    with pytest.raises(Lost, match="an entry was expected, and this came: nothing"):
        unpacker.unpack("nothing", b"")


def test_what_cannot_be_pickled_is_lost_alone() -> None:
    body = b'{"messages": [{"role": "user", "content": "%s"}]}' % (b"Look at this. " * 500)
    calls = [
        msgspec.structs.replace(
            entry(f"c{at}", state=State.IN_FLIGHT),
            body=body + b" " * at,
            request=msgspec.structs.replace(entry("c").request, path="/v1/messages"),
        )
        for at in range(3)
    ]
    calls[1] = msgspec.structs.replace(calls[1], error=_NotPickled())
    packer, unpacker = Packer(Guard()), Unpacker(message_reader(load()))
    first, second, third = said_in(packer.pack(calls))

    assert unpacker.unpack(*first).body == calls[0].body
    with pytest.raises(Lost, match="c1: it could not be sent"):
        unpacker.unpack(*second)
    # It is made of the body of the one that was lost.
    assert unpacker.unpack(*third).body == calls[2].body


class _NotPickled(str):
    def __reduce__(self) -> str:
        raise TypeError("not me")


def test_what_is_put_is_on_record_when_it_is_closed(path: Path, guard: Guard) -> None:
    with recorder(path, guard) as at_work:
        for number in range(200):
            assert at_work.put(entry(f"c{number:03}", state=State.IN_FLIGHT))
            assert at_work.put(entry(f"c{number:03}"))

    assert at_work.depth == 0
    assert on_record(path) == [(f"c{number:03}", "ok") for number in range(200)]
    assert not guard.counts
    assert not list(path.parent.glob("*-writer-*"))


def test_calls_through_the_whole_proxy_are_the_same_rows_as_with_a_thread(tmp_path: Path) -> None:
    rows = []
    for own_process in (False, True):
        path = tmp_path / f"{own_process}.db"
        with office(path, record={"own_process": own_process}) as at:
            said: list[Any] = []
            for number in range(4):
                said.append({"role": "user", "content": f"Name river {number}."})
                body = {"model": "claude-sonnet-4-5", "system": "Be kind.", "messages": said}
                at.call("/v1/messages", body, anthropic_reply(text(f"The Danube, {number}.")))
                said.append({"role": "assistant", "content": f"The Danube, {number}."})
        rows.append((
            on_record(path, "select role, text, id from messages order by id"),
            on_record(path, "select kind, state, because, request_exactness, reply_exactness, "
                            "base_length, round(cost_usd, 9), total_input_tokens from calls"),
            on_record(path, "select count(*) from sessions"),
        ))  # fmt: skip

    assert rows[0] == rows[1]
    assert rows[0][2] == [(1,)]


def test_a_process_that_goes_away_is_replaced_and_what_it_had_is_counted(
    path: Path, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    with recorder(path, guard, flush_seconds=60) as at_work:
        at_work.put(entry("c1", state=State.IN_FLIGHT))
        time.sleep(0.5)  # it has been carried there, and waits for the flush
        first = at_work.process_id
        os.kill(first, signal.SIGKILL)
        eventually(lambda: guard.counts["dropped"])
        at_work.put(entry("c1"))  # its beginning was lost: it comes whole
        at_work.put(entry("c2"))
        eventually(lambda: at_work.process_id not in (0, first))

    assert on_record(path) == [("c1", "ok"), ("c2", "ok")]
    assert guard.counts == {"dropped": 1}
    (said,) = [each.getMessage() for each in caplog.records if "process" in each.getMessage()]
    assert (
        f"{path}: the process that writes it ended with status -9; another one is started" in said
    )


def test_what_a_process_had_written_before_it_went_away_is_not_counted_as_lost(
    path: Path, guard: Guard
) -> None:
    """It is killed again and again; what it had no time to report is looked for on record."""
    with recorder(path, guard, flush_seconds=0.01) as at_work:
        for number in range(600):
            at_work.put(entry(f"c{number}"))
            time.sleep(0.001)
            if number in (0, 200, 400):
                eventually(lambda: at_work.process_id and at_work._is_settled.is_set())
            if number in (200, 400):
                os.kill(at_work.process_id, signal.SIGKILL)
        eventually(lambda: at_work.depth == 0)

    left = len(on_record(path))
    assert left > 100
    assert guard.counts["dropped_calls"] == 600 - left


def test_what_the_process_has_to_say_is_said_and_counted_here(
    path: Path, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1"))
        at_work.put(entry("c2"))
        eventually(lambda: guard.counts["dropped"] == 2)

    assert at_work.depth == 0
    assert [str(path) in each.getMessage() for each in caplog.records] == [True]


def test_a_full_queue_drops_but_never_waits(path: Path, guard: Guard) -> None:
    with recorder(path, guard, queue_size=3, flush_seconds=60) as at_work:
        assert [at_work.put(entry(f"c{number}")) for number in range(5)] == [True] * 3 + [False] * 2
        assert at_work.depth == 3

    assert len(on_record(path)) == 3


def test_what_cannot_be_carried_is_counted_and_the_rest_arrives(path: Path, guard: Guard) -> None:
    unfit = msgspec.structs.replace(entry("c1"), edits=((lambda: None),))  # type: ignore[arg-type]
    with recorder(path, guard) as at_work:
        for each in (unfit, entry("c2")):
            at_work.put(each)
        eventually(lambda: at_work.depth == 0)

    assert on_record(path) == [("c2", "ok")]
    assert guard.counts == {"failed.record": 2, "dropped": 1, "dropped_calls": 1}


def test_what_stops_a_service_stops_its_proxy_and_not_what_writes_for_it(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1"))
        eventually(lambda: at_work.depth == 0)
        os.kill(at_work.process_id, signal.SIGTERM)
        time.sleep(0.2)
        at_work.put(entry("c2"))

    assert on_record(path) == [("c1", "ok"), ("c2", "ok")]
    assert not guard.counts


def test_a_process_that_does_not_start_leaves_it_to_a_thread_and_nothing_is_lost(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1"))
        eventually(lambda: guard.counts["no_process"])
        at_work.put(entry("c2"))

    assert on_record(path) == [("c1", "ok"), ("c2", "ok")]
    assert guard.counts == {"no_process": 1}
    assert "ended with status 1 before it worked; a thread writes instead" in caplog.text


def test_modules_of_other_scripts_do_not_take_the_place_of_pythons(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("encodings", "typing", "queue"):
        (folder / f"{name}.py").write_text("raise ImportError('not meant')")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1"))

    assert on_record(path) == [("c1", "ok")]
    assert not guard.counts


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_a_proxy_that_is_killed_loses_nothing_that_was_carried(
    path: Path, signal_sent: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, crashing.__file__, path, "killed", "apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    answered = [process.stdout.readline().split() for _ in range(1000)]
    os.killpg(process.pid, signal_sent)  # as a terminal's Ctrl-C does: all of the group
    answered += [line.split() for line in process.communicate()[0].splitlines()]
    ended = time.monotonic()
    eventually(lambda: "in_flight" not in dict(on_record(path)).values())
    assert not list(path.parent.glob("*-writer-*"))

    states: dict[str, str] = dict(on_record(path))
    carried = [id for id, *at in answered if at and float(at[0]) < ended - 1.0]
    assert carried
    assert {states[id] for id in carried} == {"ok"}
    assert set(states.values()) == {"ok", "interrupted"}
