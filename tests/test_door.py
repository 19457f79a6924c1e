"""Programs get sessions as objects, keep them where they like, and fork them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import callerid
from callerid import (
    Asked,
    BadDatabase,
    BadStore,
    FileStore,
    MemoryStore,
    Message,
    NotFound,
    RedisStore,
    Session,
    SessionStore,
    SQLiteStore,
    Traces,
    open_store,
)
from callerid.turn import Role
from lab.servers import RedisServer
from office import anthropic_reply, office, text

CLERK = "You are a clerk who knows the tide tables of Saint-Malo by heart."
ERRAND = "Read page 112 of the almanac and report the highest spring tide with its hour."
WISH = {"type": "tool_use", "id": "t1", "name": "delegate", "input": {"task": ERRAND}}
PROXY = "import sys, callerid.proxy.addon; print([m for m in sys.modules if '.door' in m])"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conversation with a helper (Anthropic), and one whose history the provider keeps."""
    path = tmp_path_factory.mktemp("door") / "traces.db"
    said: list[Any] = [{"role": "user", "content": "When is the highest tide this year?"}]
    with office(path) as at:

        def ask(messages: list[Any], *content: dict[str, Any], system: str = CLERK) -> str:
            body = {"model": "claude-sonnet-4-6", "system": system, "messages": messages}
            reply = anthropic_reply(*content)
            return at.call("/v1/messages", body, reply, host="api.anthropic.com")[1].session_id

        ask(said, text("I have it read."), WISH)
        ask([{"role": "user", "content": ERRAND}], text("14.1 m."), system="You read almanacs.")
        said += [
            {"role": "assistant", "content": [text("I have it read."), WISH]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "14.1 m."}
            ]},
        ]  # fmt: skip
        ask(said, text("On the 30th of March."))
        for number, words in enumerate(("Name a river", "How long is it?"), 1):
            body: dict[str, Any] = {"model": "gpt-5.5", "input": words, "instructions": "Be brief."}
            if number > 1:
                body["previous_response_id"] = f"resp_{number - 1}"
            answer = {"type": "output_text", "text": f"Answer {number}."}
            message = {"type": "message", "role": "assistant", "content": [answer]}
            reply = {"id": f"resp_{number}", "status": "completed", "output": [message]}
            at.call("/v1/responses", body, reply)
    return path


@pytest.fixture
def traces(recorded: Path) -> Iterator[Traces]:
    with Traces(recorded) as opened:
        yield opened


@pytest.fixture
def main(traces: Traces) -> Session:
    (session,) = traces.sessions(agent="clerk")
    return session


# What is on record


def test_a_session_tells_what_was_said_and_by_whom(main: Session) -> None:
    assert main.system == CLERK
    assert [message.role for message in main.messages] == ["user", "assistant", "user", "assistant"]
    assert main.messages[0].text == "When is the highest tide this year?"
    assert main.messages[1].parts[1] == Asked("t1", "delegate", {"task": ERRAND})
    assert main.messages[1].raw == {
        "role": "assistant",
        "content": [text("I have it read."), WISH],
    }
    assert main.messages[3].text == "On the 30th of March."
    assert (main.model, main.provider) == ("claude-sonnet-4-6", "anthropic")


def test_the_list_of_messages_is_a_copy(main: Session) -> None:
    main.messages.clear()

    assert len(main.messages) == 4


def test_a_session_knows_its_calls_its_family_and_what_it_used(main: Session) -> None:
    (helper,) = main.children

    assert helper.parent is not None
    assert (helper.parent.session_id, helper.messages[0].text) == (main.session_id, ERRAND)
    assert (main.parent, helper.children) == (None, [])
    assert [call.state for call in main.calls] == ["ok", "ok"]
    assert main.calls[0].seconds == 1.0
    assert main.usage.input_tokens == 200
    assert main.usage.output_tokens == 40
    assert main.cost.usd == pytest.approx((200 * 3 + 40 * 15) / 1e6)


def test_a_history_that_the_provider_keeps_is_put_together(traces: Traces) -> None:
    (session,) = traces.sessions(model="gpt-5.5")

    assert session.system == "Be brief."
    assert [message.text for message in session.messages] == [
        "Name a river", "Answer 1.", "How long is it?", "Answer 2.",
    ]  # fmt: skip


def test_sessions_are_listed_by_a_filter_and_found_by_the_beginning_of_an_id(
    traces: Traces, main: Session
) -> None:
    assert len(traces.sessions()) == 3
    assert len(traces.sessions(limit=1)) == 1
    assert {one.session_id for one in traces.sessions(root=main.session_id)} == {
        main.session_id, main.children[0].session_id,
    }  # fmt: skip
    assert traces.sessions(since="1h") == []
    assert traces.session(main.session_id[:24]).session_id == main.session_id
    assert main.metadata["title"] == "When is the highest tide this year?"


def test_what_is_not_there_is_said(tmp_path: Path, traces: Traces) -> None:
    (tmp_path / "letter.db").write_text("Dear aunt, how are you? I am well, and so is the cat.")

    with pytest.raises(NotFound, match="there is no session 'nobody'"):
        traces.session("nobody")
    with pytest.raises(FileNotFoundError, match="record some calls first"):
        Traces(tmp_path / "nothing.db")
    with pytest.raises(BadDatabase):
        Traces(tmp_path / "letter.db")


# Forks, and sessions as JSON


@pytest.mark.parametrize(("at", "kept"), [(None, 4), (2, 2), (-1, 3), (0, 0)])
def test_a_fork_has_what_was_said_up_to_there(main: Session, at: int | None, kept: int) -> None:
    fork = main.fork(at=at)

    assert fork.messages == main.messages[:kept]
    assert fork.parent_id == main.session_id
    assert fork.session_id.startswith("sess_")
    assert (fork.system, fork.model) == (main.system, main.model)
    assert (fork.calls, fork.children, fork.parent) == ([], [], None)
    assert len(main.messages) == 4


@pytest.mark.parametrize("at", [5, 99, -5])
def test_a_fork_has_no_more_than_was_said(main: Session, at: int) -> None:
    with pytest.raises(ValueError, match=f"expected one of 4 messages, got {at}"):
        main.fork(at=at)


def test_a_fork_may_begin_at_a_call(main: Session) -> None:
    first = main.calls[0].id

    assert [message.role for message in main.fork(at=first).messages] == ["user", "assistant"]
    with pytest.raises(NotFound, match="has no call 'nothing'"):
        main.fork(at="nothing")
    with pytest.raises(NotFound, match="has no record"):
        main.fork().fork(at=first)


def test_a_fork_is_not_recorded(traces: Traces, main: Session) -> None:
    fork = main.fork("alternative-plan", at=1)

    assert fork.session_id == "alternative-plan"
    with pytest.raises(NotFound):
        traces.session("alternative-plan")


def test_a_session_is_the_same_after_json(main: Session) -> None:
    data = json.loads(json.dumps(main.to_dict()))
    again = Session.from_dict(data)

    assert set(data) == {
        "session_id", "system", "messages", "model", "provider", "parent", "metadata",
    }  # fmt: skip
    assert again.messages == main.messages
    assert again.to_dict() == main.to_dict()
    assert again.usage == callerid.Usage()
    assert str(again.cost) == "cost unknown"


def test_a_session_can_be_made_of_words() -> None:
    session = Session("mine", messages=[Message.user("Hello"), Message.assistant("Hi!")])

    assert [(one.role, one.text) for one in session.messages] == [
        (Role.USER, "Hello"), (Role.ASSISTANT, "Hi!"),
    ]  # fmt: skip
    assert Session.from_dict({
        "session_id": "mine", "messages": [{"role": "user", "text": "Hello"}],
    }).messages == session.messages[:1]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"session_id": 7},
        {"session_id": "a", "messages": "Hello"},
        {"session_id": "a", "messages": [{"role": "aunt", "text": "Hello"}]},
        {"session_id": "a", "messages": [{"role": "user"}]},
        {"session_id": "a", "metadata": []},
    ],
)
def test_what_is_no_session_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Session.from_dict(data)


# Stores


class ShelfStore(MemoryStore):
    """A store of somebody's own."""


class NoStore:
    """Something that keeps nothing."""


class Redis:
    """As much of a Redis client as a store asks for."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}

    def set(self, name: str, value: str) -> None:
        self._kept[name.encode()] = value.encode()

    def get(self, name: str) -> bytes | None:
        return self._kept.get(name.encode())

    def delete(self, name: str) -> int:
        return int(self._kept.pop(name.encode(), None) is not None)

    def scan_iter(self, match: str) -> list[bytes]:
        names = [name for name in self._kept if fnmatchcase(name.decode(), match)]
        return [*names, *names[:1]]  # a scan may give a key twice


class FakeRedisStore(RedisStore):
    """One whose Redis is none."""

    def __init__(self) -> None:
        super().__init__(Redis())


STORES = [
    "test_door:FakeRedisStore",
    "memory",
    "sqlite:{}/sessions.db",
    "file:{}/sessions",
    "test_door:ShelfStore",
]


def test_a_store_in_a_real_redis(redis_server: RedisServer, main: Session) -> None:
    store = open_store(redis_server.url)
    store.save("a[b]*", main.to_dict())

    assert store.list_sessions() == ["a[b]*"]
    assert Session.from_dict(store.load("a[b]*") or {}).messages == main.messages
    assert (store.delete("a[b]*"), store.delete("a[b]*"), store.load("a[b]*")) == (
        True, False, None,
    )  # fmt: skip


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    return open_store(str(request.param).format(tmp_path))


def test_a_store_keeps_sessions(store: SessionStore, main: Session) -> None:
    store.save("b", {"session_id": "b"})
    store.save(main.session_id, main.to_dict())
    store.save("b", {"session_id": "b", "system": "second"})

    kept = store.load(main.session_id)
    assert kept is not None
    assert Session.from_dict(kept).messages == main.messages
    assert store.load("b") == {"session_id": "b", "system": "second"}
    assert store.list_sessions() == sorted(["b", main.session_id])
    assert (store.delete("b"), store.delete("b"), store.load("b")) == (True, False, None)


@pytest.mark.parametrize("id", ["../../etc/passwd", "..", "a/b", "A", "ü 'x'", "x" * 400, "\\"])
def test_any_id_can_be_kept(store: SessionStore, tmp_path: Path, id: str) -> None:
    store.save(id, {"session_id": id})
    store.save(id + "2", {"session_id": id + "2"})

    assert store.load(id) == {"session_id": id}
    assert store.list_sessions() == sorted([id, id + "2"])
    inside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent in (tmp_path, tmp_path / "sessions") for path in inside)


def test_what_a_store_gives_is_a_copy(store: SessionStore) -> None:
    data: dict[str, Any] = {"messages": []}
    store.save("a", data)
    data["messages"].append("more")
    loaded: Any = store.load("a")
    loaded["messages"].append("more")

    assert store.load("a") == {"messages": []}


def test_files_of_sessions_are_for_their_owner_alone(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "sessions.db").save("a", {})
    FileStore(tmp_path / "sessions").save("a", {})

    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()
    }  # fmt: skip
    assert modes == {0o600}


def test_sessions_are_kept_from_any_thread(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    threads = [threading.Thread(target=store.save, args=(str(n), {})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.list_sessions() == [str(n) for n in range(8)]


@pytest.mark.parametrize("name", ["", "cloud", "sqlite:", "no.such.module:X", "json:Nobody"])
def test_a_store_that_is_none_is_named(name: str) -> None:
    with pytest.raises(BadStore, match="expected memory, sqlite:FILE, file:FOLDER"):
        open_store(name)


def test_a_class_that_keeps_nothing_is_no_store() -> None:
    with pytest.raises(BadStore, match="has no save, load, delete, list_sessions"):
        open_store("test_door:NoStore")


# The door itself


def test_what_is_exported_is_this() -> None:
    assert callerid.__all__ == [
        "Answered", "Asked", "BadDatabase", "BadStore", "BadTime", "CallFacts", "Cost",
        "FileStore", "MemoryStore", "Message", "NotFound", "Other", "RedisStore", "SQLiteStore",
        "Session", "SessionStore", "Thought", "Traces", "Usage", "Words", "__version__",
        "open_store",
    ]  # fmt: skip
    assert all(getattr(callerid, name) for name in callerid.__all__)
    assert set(callerid.__all__) <= set(dir(callerid))
    with pytest.raises(AttributeError, match="has no attribute 'Trace'"):
        callerid.Trace  # type: ignore[attr-defined] # noqa: B018
    assert Path(callerid.__file__).with_name("py.typed").exists()


def said_by_python(program: str) -> str:
    environment = {"PYTHONPATH": str(Path(callerid.__file__).parents[1])}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_importing_callerid_loads_nothing_else() -> None:
    program = "import sys, callerid; print([m for m in sys.modules if m.startswith('callerid.')])"

    assert said_by_python(program) == "[]"


def test_the_proxy_does_not_load_the_door() -> None:
    assert said_by_python(PROXY) == "[]"
