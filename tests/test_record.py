"""traces.db may be locked, missing, read-only or full: nothing waits for it, and it goes on."""

from __future__ import annotations

import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlite_utils import Database

from callerid.guard import Guard
from callerid.prices import Prices
from callerid.settings.load import load
from callerid.settings.values import RecordSettings
from callerid.traces import database as traces
from callerid.traces import rows
from callerid.traces.record import ThreadRecorder
from callerid.traces.rows import Entry, State
from callerid.turn import (
    Because,
    Call,
    Client,
    Dialect,
    Identity,
    Kind,
    Message,
    Reply,
    Request,
    Role,
    Stood,
    Text,
    Timing,
    Usage,
)

DEADLINE_SECONDS = 10.0
NOBODY = 65534


@pytest.fixture
def guard() -> Guard:
    return Guard()


def drops(guard: Guard) -> int:
    """Wait until a record was dropped, and say how many there are."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not guard.counts["dropped"] and time.monotonic() < deadline:
        pass
    return guard.counts["dropped"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@contextmanager
def recorder(
    path: Path, guard: Guard, flush_seconds: float = 0.01, **more: int
) -> Iterator[ThreadRecorder]:
    settings = RecordSettings(flush_seconds=flush_seconds, **more)
    recorder = ThreadRecorder(path, settings, guard, Prices(load().prices))
    try:
        yield recorder
    finally:
        recorder.close(DEADLINE_SECONDS)


def message(text: str, role: Role = Role.USER) -> Message:
    raw = b'{"role":"%s","content":"%s"}' % (role.encode(), text.encode())
    return Message(role, (Text(text),), raw)


def entry(id: str, *texts: str, state: State = State.OK, **more: Any) -> Entry:
    """A call that said some texts, and was answered."""
    client = Client("scope", "connection", "127.0.0.1", "test/1")
    request = Request(
        "POST", "https", "llm.example", 443, "/v1/messages", more.pop("headers", ()), b"{}", client
    )
    said = tuple(message(text) for text in texts or ("Hello",))
    answer = Reply(messages=(message(f"Answer to {id}", Role.ASSISTANT),), usage=Usage(1, 2))
    session = more.pop("session", "sess_1")
    began = 1000.0 + len(texts)
    return Entry(
        id=id,
        request=request,
        call=Call(Dialect.ANTHROPIC, "m", False, "", (), said),
        identity=identity(session=session),
        provider="",
        edits=(),
        timing=Timing(began, None, None if state is State.IN_FLIGHT else began + 1),
        state=state,
        **{"reply": None if state is State.IN_FLIGHT else answer} | more,
    )


def identity(kind: Kind = Kind.MAIN, session: str = "sess_1") -> Identity:
    return Identity(session, "agent_1", session, Because.NEW, 0.9, "an opening", kind)


def on_record(path: Path, query: str = "select id, state from calls order by id") -> list[Any]:
    with closing(Database(path)) as database:
        return [tuple(row.values()) for row in database.query(query)]


def test_a_call_is_there_while_it_is_under_way_and_once_it_has_ended(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard) as first:
        first.put(entry("c1", state=State.IN_FLIGHT))
    under_way = on_record(path)
    with recorder(path, guard) as second:
        second.put(entry("c1"))

    assert under_way == [("c1", "in_flight")]
    assert on_record(path) == [("c1", "ok")]


def test_what_a_call_cost_is_on_record_and_what_nobody_knows_is_not(
    path: Path, guard: Guard
) -> None:
    used = Reply(model="claude-sonnet-4-5", usage=Usage(1000, 100, 500, cache_is_apart=True))
    counted = msgspec.structs.replace(
        entry("c3", reply=used),
        call=Call(Dialect.ANTHROPIC, "m", False, "", (), (), Kind.COUNT_TOKENS),
    )
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", reply=used))
        at_work.put(entry("c2"))
        at_work.put(counted)

    told = "select id, total_input_tokens, total_output_tokens, round(cost_usd, 6) from calls"
    assert on_record(path, told) == [
        ("c1", 1500, 100, 0.00465),
        ("c2", 1, 2, None),
        ("c3", None, None, None),
    ]
    summary = "select calls, input_tokens, round(cost_usd, 6), calls_unpriced from session_summary"
    assert on_record(path, summary) == [(3, 1501, 0.00465, 1)]


def test_each_message_is_stored_once_and_each_call_only_what_it_adds(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", "one"))
        at_work.put(entry("c2", "one", "two"))
        at_work.put(entry("c3", "one", "two", "three"))

    assert on_record(path, "select text from messages where role = 'user'") == [
        ("one",),
        ("two",),
        ("three",),
    ]
    own = "select call_id, position from call_messages where not is_reply order by call_id"
    assert on_record(path, own) == [("c1", 0), ("c2", 1), ("c3", 2)]


def test_a_side_call_does_not_let_the_next_call_be_written_in_full(
    path: Path, guard: Guard
) -> None:
    title = msgspec.structs.replace(entry("title", "Name this"), identity=identity(Kind.TITLE))
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", "one", "two"))
        at_work.put(title)
        at_work.put(entry("c2", "one", "two", "three"))

    own = "select call_id, position from call_messages where not is_reply order by call_id"
    assert on_record(path, own) == [("c1", 0), ("c1", 1), ("c2", 2), ("title", 0)]


def test_what_was_deleted_is_written_again_when_it_is_said_again(path: Path, guard: Guard) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", "one", "two"))
        while not on_record_or_nothing(path):
            pass
        forget_all(path)
        at_work.put(entry("c2", "one", "two"))

    references = (
        "select text from call_messages join messages on id = message_id where not is_reply"
    )
    assert on_record(path) == [("c2", "ok")]
    assert on_record(path, references) == [("one",), ("two",)]


def forget_all(path: Path) -> None:
    """Delete every call, and what nobody refers to then, as another process may."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("call_messages", "reply_bodies", "calls", "sessions", "agents"):
            connection.execute(f"delete from {table}")
        connection.execute("delete from messages where id in (select id from unused_messages)")
        connection.execute("update facts set value = value + 1 where name = 'deletions'")
        assert connection.execute("select count(*) from messages").fetchone() == (0,)


def test_what_somebody_refers_to_is_not_unused(path: Path, guard: Guard) -> None:
    tools = b'[{"name":"look"},{"name":"listen"}]'
    asked = entry("c1", "one")
    call = msgspec.structs.replace(asked.call, tools_raw=tools, system_raw=b'"Be."', system="Be.")
    with recorder(path, guard) as at_work:
        at_work.put(msgspec.structs.replace(asked, call=call))

    assert len(on_record(path, "select id from messages")) == 6
    assert on_record(path, "select id from unused_messages") == []


def test_a_transcript_is_the_newest_call_with_its_reply(path: Path, guard: Guard) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", "one"))
        at_work.put(entry("c2", "one", "Answer to c1", "two"))

    transcript = "select text from conversation where session_id = 'sess_1' order by position"
    assert on_record(path, transcript) == [("one",), ("Answer to c1",), ("two",), ("Answer to c2",)]


def test_while_another_process_holds_the_file_nothing_is_lost_and_nobody_waits(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard):
        pass
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        recorder(path, guard) as at_work,
    ):
        other.execute("begin immediate")
        assert all(at_work.put(entry(f"c{number}")) for number in range(5))
        other.execute("rollback")

    assert len(on_record(path)) == 5
    assert not guard.counts


def test_a_full_queue_says_no_at_once(path: Path, guard: Guard) -> None:
    with recorder(path, guard):
        pass
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        recorder(path, guard, queue_size=3) as at_work,
    ):
        other.execute("begin immediate")
        taken = [at_work.put(entry(f"c{number}")) for number in range(300)]
        other.execute("rollback")

    assert not all(taken)
    assert len(on_record(path)) == sum(taken)


def test_a_queue_that_holds_too_many_bytes_says_no_at_once(path: Path, guard: Guard) -> None:
    with recorder(path, guard):
        pass
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        recorder(path, guard, queue_bytes=1000) as at_work,
    ):
        other.execute("begin immediate")
        begun = (entry(f"c{n}", state=State.IN_FLIGHT, request_bytes=300) for n in range(9))
        taken = [at_work.put(each) for each in begun]
        other.execute("rollback")
        while not at_work.put(entry("later", reply_bytes=2000)):
            pass

    assert taken == [True] * 3 + [False] * 6
    assert [id for id, _ in on_record(path)] == ["c0", "c1", "c2", "later"]
    assert not guard.counts


def test_a_file_held_for_too_long_costs_the_batch_and_recording_goes_on(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(traces, "BUSY_MILLISECONDS", 50)
    with recorder(path, guard):
        pass
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        recorder(path, guard) as at_work,
    ):
        other.execute("begin immediate")
        at_work.put(entry("lost"))
        assert drops(guard) == 1
        other.execute("rollback")
        at_work.put(entry("kept"))

    assert "locked" in caplog.text
    assert on_record(path) == [("kept", "ok")]


def test_a_deleted_file_is_made_anew(path: Path, guard: Guard) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("before", state=State.IN_FLIGHT))
        while not path.exists() or not on_record_or_nothing(path):
            pass
        for file in path.parent.glob("traces.db*"):
            file.unlink()
        at_work.put(entry("before"))
        at_work.put(entry("after"))

    assert on_record(path) == [("after", "ok"), ("before", "ok")]
    assert path.stat().st_mode & 0o777 == 0o600


def on_record_or_nothing(path: Path) -> list[Any]:
    try:
        return on_record(path)
    except sqlite3.OperationalError:
        return []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; be somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_written_costs_the_record_until_it_may(
    tmp_path: Path, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    folder = tmp_path / "traces"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    path = folder / "traces.db"
    with as_nobody():
        path.write_bytes(b"")
        path.chmod(0o400)
        with recorder(path, guard) as at_work:
            at_work.put(entry("lost"))
            assert drops(guard) == 1
            path.chmod(0o600)
            at_work.put(entry("kept"))

    assert f"{path}: cannot be used as traces.db" in caplog.text
    assert "Permission denied" in caplog.text
    assert on_record(path) == [("kept", "ok")]


def test_a_full_disk_costs_the_record_until_there_is_room(
    path: Path, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with recorder(path, guard) as at_work:
        at_work.put(entry("first"))
        while not path.exists() or not on_record_or_nothing(path):
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            at_work.put(entry("lost", "x" * 1_000_000))
            assert drops(guard) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        at_work.put(entry("kept"))

    assert "disk" in caplog.text
    assert [id for id, _ in on_record(path)] == ["first", "kept"]


def test_numbers_and_letters_that_sqlite_does_not_know_are_stored_as_unknown(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard) as at_work:
        at_work.put(entry("c1", reply=Reply(model="\ud800m", usage=Usage(1 << 70, 2))))

    columns = "select response_model, input_tokens, output_tokens from calls"
    assert on_record(path, columns) == [("?m", None, 2)]
    assert not guard.counts


def test_a_bug_in_one_record_costs_that_record_only(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_row = rows.call_row

    def fail_for_one(entry: Entry, *more: Any) -> rows.Row:
        if entry.id == "bad":
            raise ZeroDivisionError
        return call_row(entry, *more)

    monkeypatch.setattr(rows, "call_row", fail_for_one)
    with recorder(path, guard, flush_seconds=3600) as at_work:
        for id in ("ok1", "bad", "ok2"):
            at_work.put(entry(id))

    assert guard.counts["dropped"] == 1
    assert [id for id, _ in on_record(path)] == ["ok1", "ok2"]


def test_a_file_of_a_newer_callerid_is_left_alone(path: Path) -> None:
    with closing(traces.open_database(path)) as database:
        database.conn.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('callerid', 'm999_from_the_future', '')"
        )
        database.conn.commit()

    with pytest.raises(traces.BadDatabase, match="m999_from_the_future"):
        traces.open_database(path)


def test_a_credential_that_stands_in_a_message_is_masked_there_too(
    path: Path, guard: Guard
) -> None:
    key = "sk-planted-in-a-message-123"
    with recorder(path, guard) as at_work:
        headers = (("authorization", f"Bearer {key}"),)
        at_work.put(entry("c1", f"My key is {key}", headers=headers))

    assert key.encode() not in path.read_bytes()


def test_credentials_in_a_body_are_not_written_down(path: Path, guard: Guard) -> None:
    secret = b"a-token-for-somebody-else"
    servers = b'[{"type":"url","authorization_token":"%b"}]' % secret
    tools = b'[{"type":"mcp","headers":{"Authorization":"Bearer %b"},"authorization":"%b"}]'
    asked = entry("c1")
    call = msgspec.structs.replace(
        asked.call,
        members=(
            ("mcp_servers", servers),
            ("api_key", b'"%b"' % secret),
            ("metadata", b'{"note":"sk-proj-0123456789abcdef"}'),
            ("tools", Stood.TOOLS),
        ),
        tools_raw=tools % (secret, secret),
    )

    with recorder(path, guard) as at_work:
        at_work.put(msgspec.structs.replace(asked, call=call))

    written = b"".join(file.read_bytes() for file in path.parent.glob("traces.db*"))
    assert b"mcp_servers" in written
    assert secret not in written
    assert b"sk-proj" not in written
    assert not guard.counts


def test_the_dummy_key_of_a_local_server_masks_no_words(path: Path, guard: Guard) -> None:
    with recorder(path, guard) as at_work:
        headers = (("authorization", "Bearer ollama"),)
        at_work.put(entry("c1", "How do I install ollama?", headers=headers))

    texts = "select text from messages where role = 'user'"
    assert on_record(path, texts) == [("How do I install ollama?",)]


def test_a_call_that_ends_under_other_settings_keeps_what_was_asked(
    path: Path, guard: Guard
) -> None:
    with recorder(path, guard) as first:
        first.put(entry("c1", "A question", state=State.IN_FLIGHT))
    before = on_record(path, "select request_exactness, layout, members, writer_id from calls")
    with recorder(path, guard) as second:
        ended = entry("c1", "A question")
        body = msgspec.structs.replace(ended.request, body=b"")
        second.put(msgspec.structs.replace(ended, request=body))

    assert on_record(path) == [("c1", "ok")]
    after = on_record(path, "select request_exactness, layout, members, writer_id from calls")
    assert after == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    path: Path, guard: Guard
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table recipes (name)")
        connection.commit()
    before = path.read_bytes()

    with pytest.raises(traces.BadDatabase, match=r"is no traces.db, but .* \(it has recipes\)"):
        traces.open_database(path)

    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == [path]
