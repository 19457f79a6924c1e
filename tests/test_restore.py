"""After a restart the sessions on record are known as before, and it does not take long."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import make
import story
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard, Turn
from callerid.prices import Prices
from callerid.settings.load import load
from callerid.traces import restore as restoring
from callerid.traces.restore import restore
from callerid.traces.rows import Entry, State
from callerid.traces.write import Writer
from callerid.turn import Because, Client, Dialect, Message, Relation, Reply, Request, Timing
from callerid.wire.messages import MessageReader

DIALECTS = list(story.PATHS)
ODD_HEADER = ("x-title", b"caf\xe9".decode("utf-8", "surrogateescape"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


def board() -> Switchboard:
    serial = itertools.count(1)
    return Switchboard(load(), lambda prefix: f"{prefix}_{next(serial):08}")


class Proxy:
    """What identifies and records calls, until it stops."""

    def __init__(self, path: Path) -> None:
        self.board = board()
        self._writer = Writer(path, Prices(load().prices))
        self._serial = itertools.count(1)

    def take(self, request: Request, now: float, answer: Reply) -> Turn:
        """A call that is answered."""
        turn = self.board.take(request, now)
        assert turn is not None
        self.board.answer(turn, answer, now + 1, has_failed=False)
        id = f"call_{next(self._serial):06}"
        size = len(request.body)
        begun = Entry(id, request, turn.call, turn.identity, "", (), Timing(now), size)
        ended = msgspec.structs.replace(
            begun, timing=Timing(now, now, now + 1), state=State.OK, status=200, reply=answer
        )
        assert self._writer.write([begun, ended]) == ""
        return turn

    def talk(self, dialect: Dialect, turns: int) -> tuple[list[Any], list[Turn]]:
        """A conversation in which the model uses a tool; what was said, and the calls."""
        said: list[Any] = []
        taken = []
        for number in range(turns):
            said.append(
                {"result": f"Result {number}"} if number % 3 == 1 else {"user": f"Asked {number}"}
            )
            reply: dict[str, Any] = {"assistant": f"Answer {number}, and some more words."}
            if number % 3 == 0:
                reply = {"call": {"name": "look", "arguments": {"at": f"the file {number}"}}}
            answer = make.whole(dialect, story._reply(dialect, [reply], 200, number, {}))
            taken.append(self.take(request_of(dialect, said), 1000.0 + 2 * number, answer))
            said.append(reply)
        return said, taken

    def stop(self) -> None:
        self._writer.close()


@pytest.fixture
def proxy(path: Path) -> Iterator[Proxy]:
    proxy = Proxy(path)
    yield proxy
    proxy.stop()


def request_of(dialect: Dialect, said: list[Any], **more: Any) -> Request:
    return make.request(make.body(dialect, said) | more, make.PATHS[dialect])


def restored(path: Path, now: float = 1000.0, at: Switchboard | None = None) -> Switchboard:
    guard = Guard()
    after = at or board()
    restore(path, after, guard, now)
    assert not guard.counts
    return after


def next_call(after: Switchboard, request: Request, now: float = 2000.0) -> Turn:
    turn = after.take(request, now)
    assert turn is not None
    return turn


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_goes_on(proxy: Proxy, path: Path, dialect: Dialect) -> None:
    said, (*_, last) = proxy.talk(dialect, 6)

    turn = next_call(restored(path), request_of(dialect, [*said, {"user": "And now?"}]))

    assert turn.identity is not None
    assert turn.session is not None
    assert last.session is not None
    assert turn.session.id == last.session.id
    assert turn.identity.because == Because.HISTORY
    assert turn.session.tail == last.session.tail
    assert turn.session.said == last.session.said


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_that_is_left_in_its_middle_is_known_there(
    proxy: Proxy, path: Path, dialect: Dialect
) -> None:
    said, (first, *_) = proxy.talk(dialect, 6)

    turn = next_call(restored(path), request_of(dialect, [*said[:6], {"user": "Or else?"}]))

    assert turn.identity is not None
    assert first.identity is not None
    assert turn.identity.parent_session_id == first.identity.session_id
    assert turn.identity.relation is Relation.FORK


class Counting(MessageReader):
    """A reader that counts what it is given to read."""

    count = 0

    def read(self, *asked: Any) -> Message:
        self.count += 1
        return super().read(*asked)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_message_is_read_once_however_long_the_session(
    proxy: Proxy, path: Path, dialect: Dialect
) -> None:
    turns = 60
    proxy.talk(dialect, turns)
    after = board()
    reader = after.reader = Counting(make.INJECTED)

    restored(path, at=after)

    # What was asked and answered, the answer as a reply, and the opening of the call.
    assert reader.count <= 4 * turns


def test_of_very_much_on_record_the_newest_part_is_taken_in(
    proxy: Proxy, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = list(talks(proxy, 5))
    monkeypatch.setattr(restoring, "RESTORED_BYTES", 2500)

    after = restored(path)

    assert [after.memory.get(id) is not None for id in sessions] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_calls_that_share_little_count_in_full(
    proxy: Proxy, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = make.whole(Dialect.ANTHROPIC, {"content": [{"type": "text", "text": "Yes."}]})
    for number in range(9):
        said = [{"user": "Start"}, *({"user": f"{number} {at} " + "x" * 300} for at in range(4))]
        request = request_of(Dialect.ANTHROPIC, said)
        windows = msgspec.structs.replace(request, headers=(("x-session-id", "the-window"),))
        proxy.take(windows, 1000.0 + number, answer)
    monkeypatch.setattr(restoring, "RESTORED_BYTES", 5000)

    session = restored(path).memory.get("the-window")

    assert session is not None
    assert 1 < session.calls < 5


def talks(proxy: Proxy, how_many: int) -> Iterator[str]:
    """Conversations of a thousand bytes each; their sessions."""
    for number in range(how_many):
        asked = request_of(Dialect.ANTHROPIC, [{"user": f"{number} " + "x" * 1000}])
        answer = make.whole(Dialect.ANTHROPIC, {"content": [{"type": "text", "text": "Yes."}]})
        turn = proxy.take(asked, 1000.0 + number, answer)
        assert turn.identity is not None
        yield turn.identity.session_id


def test_odd_bytes_on_record_do_not_stop_it(proxy: Proxy, path: Path) -> None:
    said = [{"user": "Hello"}]
    odd = request_of(Dialect.ANTHROPIC, said, **{"half \ud800": 1})
    odd = msgspec.structs.replace(odd, headers=(ODD_HEADER,))
    blocks = [{"type": "text", "text": "Good day to you."}]
    turn = proxy.take(odd, 1000.0, make.whole(Dialect.ANTHROPIC, {"content": blocks}))

    after = restored(path)

    said += [{"assistant": "Good day to you."}, {"user": "And now?"}]
    assert next_call(after, request_of(Dialect.ANTHROPIC, said)).session is not None
    assert turn.identity is not None
    assert after.memory.get(turn.identity.session_id) is not None


def test_a_record_that_cannot_be_read_is_skipped_and_counted(proxy: Proxy, path: Path) -> None:
    proxy.talk(Dialect.ANTHROPIC, 3)
    with_one_broken(path)
    guard, after = Guard(), board()

    restore(path, after, guard, 1000.0)

    assert guard.counts == {"failed.restore": 1}
    assert len(after.memory) == 1


def with_one_broken(path: Path) -> None:
    database = restoring.open_database(path)
    database.conn.execute("update calls set request_headers = '[' where id = 'call_000001'")
    database.conn.commit()
    database.conn.close()


# Whose ids are


def declares(key: str, **said: str) -> Request:
    """A customer's call, with headers that say whose it is."""
    headers = tuple((f"x-callerid-{name}-id".replace("_", "-"), id) for name, id in said.items())
    body = make.body(Dialect.ANTHROPIC, [{"user": f"{key} says {said}"}])
    request = make.request(body, headers=headers)
    return msgspec.structs.replace(request, client=Client(scope=key))


def ids_of(turn: Turn) -> set[str]:
    assert turn.identity is not None
    return {turn.identity.session_id, turn.identity.root_session_id}


def test_an_id_stays_its_customers_though_only_the_other_one_is_live(
    proxy: Proxy, path: Path
) -> None:
    """Ada was heard of too long ago; that Bob's ids are marked says that they were another's."""
    answer = make.whole(
        Dialect.ANTHROPIC, story._reply(Dialect.ANTHROPIC, [{"assistant": "Yes."}], 200, 1, {})
    )
    adas = ids_of(proxy.take(declares("ada", session="job"), 1000.0, answer))
    bobs = ids_of(proxy.take(declares("bob", session="mine", parent_session="job"), 9000.0, answer))

    again = functools.partial(next_call, restored(path, 9002.0), now=9003.0)
    said = ["job", *sorted(bobs)]
    bobs |= {id for one in said for id in ids_of(again(declares("bob", session=one)))}
    bobs |= ids_of(again(declares("bob", session="new", parent_session="job")))
    adas |= {id for one in said for id in ids_of(again(declares("ada", session=one)))}

    assert "job" in adas
    assert not adas & bobs
