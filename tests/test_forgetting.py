"""What is forgotten, or kept for too long, is in the file no more; what remains is whole."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from callerid.commands.cli import cli
from callerid.settings.values import RecordSettings
from callerid.traces import bodies, searching
from callerid.traces.database import open_database
from callerid.traces.deleting import delete_some
from callerid.traces.retention import Retention, used_bytes
from lab import Answer, Asked, FakeProvider, Proxy, newest_text
from lab.servers import RedisServer
from office import Office, anthropic_reply, office, text

DEADLINE_SECONDS = 20.0
TOOLS = [{"name": f"tool{at}", "description": f"It does {at}.", "input_schema": {"type": "object"}}
         for at in range(4)]  # fmt: skip
EVER = float("inf")
ORPHANS = """
select (select count(*) from unused_messages),
    (select count(*) from call_messages where call_id not in (select id from calls)),
    (select count(*) from call_messages where message_id not in (select id from messages)),
    (select count(*) from reply_bodies where call_id not in (select id from calls)),
    (select count(*) from calls where base_call_id not in (select id from calls)),
    (select count(*) from agents where id not in (select agent_id from calls)),
    (select count(*) from searched where message_id not in (select id from messages))
"""


def talk(at: Office, word: str, turns: int, said: list[Any] | None = None) -> tuple[str, list[Any]]:
    """A conversation about a word that is in all that is said; its session, and what was said."""
    said = list(said or [])
    session = ""
    for number in range(turns):
        said.append({"role": "user", "content": f"{word} question {number}"})
        block = text(
            f"{word} answer {number}, which is somewhat longer than the question was. " * 40
        )
        body = {"model": "m", "system": f"You are the {word} clerk.", "messages": list(said),
                "tools": [*TOOLS, {"name": word, "input_schema": {"type": "object"}}]}  # fmt: skip
        _, identity = at.call("/v1/messages", body, anthropic_reply(block))
        session = identity.session_id
        said.append({"role": "assistant", "content": [block]})
    return session, said


def indexed(path: Path) -> None:
    with closing(open_database(path)) as database:
        while searching.index(database):
            pass


def whole(path: Path) -> dict[str, Any]:
    """Each call on record with its bodies."""
    with closing(open_database(path)) as database:
        ids = [row["id"] for row in database.query("select id from calls")]
        return {id: (bodies.request_body(database, id), bodies.reply_body(database, id))
                for id in ids}  # fmt: skip


def left(path: Path) -> bytes:
    """All bytes of the file and its log."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def words_in(path: Path, word: str) -> list[str]:
    """Where in a traces.db a word is, packed or not."""
    places = [word for _ in [0] if word.encode() in left(path).lower()]
    with closing(open_database(path)) as database:
        for id, pair in whole(path).items():
            places += [id for body in pair if word.encode() in (body.content or b"")]
        query = "select count(*) from messages_fts where messages_fts match ?"
        places += ["fts"] * database.conn.execute(query, [word]).fetchone()[0]
    return places


def sound(path: Path) -> None:
    with closing(open_database(path)) as database:
        assert database.conn.execute(ORPHANS).fetchone() == (0, 0, 0, 0, 0, 0, 0)
        assert database.conn.execute("pragma integrity_check").fetchone() == ("ok",)
        database.execute("insert into messages_fts (messages_fts) values ('integrity-check')")


def run(path: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["forget", *words, "--db", str(path)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two conversations, and a fork of the first that shares its beginning."""
    path = tmp_path / "traces.db"
    with office(path) as at:
        _, said = talk(at, "marzipan", 30)
        talk(at, "harbour", 3)
        talk(at, "liquorice", 2, said[:20])
    indexed(path)
    return path


def sessions(path: Path) -> dict[str, str]:
    with closing(open_database(path)) as database:
        query = "select session_id as id, name from calls join agents on agents.id = agent_id"
        return {row["name"].split("-")[0]: row["id"] for row in database.query(query)}


def test_a_forgotten_session_is_nowhere_and_the_rest_is_whole(path: Path) -> None:
    session, before = sessions(path)["harbour"], whole(path)
    assert len(words_in(path, "harbour")) > 3

    assert "forgot 1 session, 3 calls, 8 messages" in run(path, session, "--yes")

    after = whole(path)
    assert words_in(path, "harbour") == []
    assert len(after) == len(before) - 3
    assert all(before[id] == pair for id, pair in after.items())
    sound(path)


def test_what_a_fork_shares_with_a_forgotten_session_stays_with_the_fork(path: Path) -> None:
    found, before = sessions(path), whole(path)

    run(path, found["marzipan"], "--yes")

    after = whole(path)
    assert len(after) == 5
    assert all(before[id] == pair for id, pair in after.items())
    assert b"marzipan question 10" not in left(path)
    sound(path)


def test_a_run_goes_with_all_that_came_from_it(path: Path) -> None:
    found = sessions(path)

    run(path, found["marzipan"], "--run", "--yes")

    assert words_in(path, "marzipan") == words_in(path, "liquorice") == []
    assert set(sessions(path)) == {"harbour"}
    sound(path)


def test_all_before_a_time_goes(path: Path) -> None:
    run(path, "--before", "2100-01-01", "--yes")

    assert whole(path) == {}
    assert [word for word in ("marzipan", "harbour", "liquorice") if words_in(path, word)] == []
    sound(path)


def test_what_comes_after_something_was_forgotten_is_found_too(path: Path) -> None:
    """Its numbers may be those of messages that are gone."""
    run(path, sessions(path)["liquorice"], "--yes")
    with office(path) as at:
        talk(at, "liquorice", 2)
    indexed(path)

    assert words_in(path, "liquorice").count("fts") == 6
    assert words_in(path, "harbour").count("fts") == 9
    sound(path)


def test_it_asks_and_a_dry_run_lets_all_stay(path: Path) -> None:
    before, session = whole(path), sessions(path)["harbour"]

    assert "would forget 1 session, 3 calls, 8 messages" in run(path, session, "--dry-run")
    refused = CliRunner().invoke(cli, ["forget", session, "--db", str(path)], input="n\n")

    assert refused.exit_code == 1
    assert whole(path) == before


def test_without_a_session_or_a_time_nothing_goes(path: Path) -> None:
    assert CliRunner().invoke(cli, ["forget", "--yes", "--db", str(path)]).exit_code == 2


# Retention


def kept(path: Path, now: float, **settings: Any) -> int:
    """Delete what may not stay; in how many steps."""
    retention, steps = Retention(RecordSettings(**settings)), 0
    with closing(open_database(path)) as database:
        while retention.step(database, now):
            steps += 1
            assert steps < 1000
    return steps


def test_sessions_silent_for_too_long_go(path: Path) -> None:
    before = whole(path)
    with closing(open_database(path)) as database:
        query = "select last_seen from sessions order by last_seen"
        (first, *_) = [row["last_seen"] for row in database.query(query)]

    kept(path, first + 1.5 * 86400, keep_days=1.5)
    assert whole(path) == before
    kept(path, first + 1 + 1.5 * 86400, keep_days=1.5)

    assert set(sessions(path)) == {"harbour", "liquorice"}
    assert all(before[id] == pair for id, pair in whole(path).items())
    sound(path)


def test_the_file_stays_below_its_bound_and_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        for number in range(60):
            talk(at, f"{chr(97 + number % 26) * 3}{'xyz'[number // 26]}", 3)
    with closing(open_database(path)) as database:
        database.execute("pragma wal_checkpoint(truncate)")
        size = path.stat().st_size
        bound = used_bytes(database) // 2

    assert kept(path, EVER, keep_bytes=bound) > 10

    with closing(open_database(path)) as database:
        assert used_bytes(database) <= bound
        database.execute("pragma wal_checkpoint(truncate)")
    assert path.stat().st_size < 0.8 * size
    assert "hhhz" in sessions(path)
    assert "aaax" not in sessions(path)
    sound(path)


def test_a_session_with_a_call_under_way_stays(path: Path) -> None:
    with closing(open_database(path)) as database, database.conn:
        database.execute(
            "update calls set state = 'in_flight' where id = (select max(id) from calls)"
        )

    kept(path, EVER, keep_bytes=1)

    assert set(sessions(path)) == {"liquorice"}


def test_a_step_is_short(path: Path) -> None:
    with closing(open_database(path)) as database:
        (session,) = [id for name, id in sessions(path).items() if name == "marzipan"]
        began = time.process_time()
        assert not delete_some(database.conn, session, EVER)
        assert time.process_time() - began < 0.2


def test_what_another_has_locked_is_left_for_the_next_time(path: Path) -> None:
    from callerid.prices import Prices
    from callerid.settings.load import load
    from callerid.traces.write import Writer

    writer = Writer(path, Prices(load().prices), settings=RecordSettings(keep_days=1))
    with closing(sqlite3.connect(path)) as other:
        assert writer.tend(0.0, 0.0)  # opened
        writer._database.execute("pragma busy_timeout = 10")  # type: ignore[union-attr]
        other.execute("begin immediate")
        assert not writer.tend(0.05, EVER)
    while writer.tend(0.05, EVER):
        pass
    writer.close()

    assert whole(path) == {}


# While a proxy runs


def echo(asked: Asked) -> Answer:
    return Answer(f"You said: {newest_text(asked)}")


def until(question: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def say(client: httpx.Client, url: str, said: list[Any]) -> str:
    body = {"model": "m", "max_tokens": 9, "messages": said}
    answer = client.post(f"{url}/v1/messages", json=body)
    said += [{"role": "assistant", "content": answer.json()["content"]}]
    return answer.headers["x-callerid-session-id"]


def test_proxies_that_share_forget_what_is_forgotten_at_one_of_them(
    addon_script: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    shared = {
        "backend": "redis", "connection": redis_server.url.replace("/0", "/5"),
        "deadline_seconds": DEADLINE_SECONDS,
    }  # fmt: skip
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({
        "record": {"flush_seconds": 0.05}, "admin": {"enabled": False},
        "session": {"persistence": shared},
    }))  # fmt: skip
    options: dict[str, Any] = {"callerid_config": str(file), "flow_detail": "0"}

    with (
        FakeProvider(echo, tls=False) as provider, Proxy(addon_script, options=options) as here,
        Proxy(addon_script, options=options) as there,
        httpx.Client(proxy=here.url, trust_env=False) as by_here,
        httpx.Client(proxy=there.url, trust_env=False) as by_there,
    ):  # fmt: skip
        said: list[Any] = [{"role": "user", "content": "A secret about nougat"}]
        session = say(by_here, provider.url, said)
        said += [{"role": "user", "content": "Go on"}]
        until(lambda: _count(here.traces, "calls where state = 'ok'"))
        assert say(by_there, provider.url, said) == session
        run(here.traces, session, "--yes")
        until(lambda: "1 sessions were forgotten at another proxy" in there.log)
        said += [{"role": "user", "content": "Go on"}]
        after = [say(each, provider.url, said[:]) for each in (by_there, by_here)]
        logs = here.log + there.log

    assert session not in after
    assert "failed" not in logs


def test_a_proxy_that_runs_forgets_too_and_indexes_and_keeps(
    addon_script: Path, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"record": {"flush_seconds": 0.05}, "admin": {"enabled": False}}))
    options: dict[str, Any] = {"callerid_config": str(file), "flow_detail": "0"}

    with FakeProvider(echo, tls=False) as provider, Proxy(addon_script, options=options) as proxy:
        with httpx.Client(proxy=proxy.url, trust_env=False) as client:
            said: list[Any] = [{"role": "user", "content": "A secret about marzipan"}]
            session = say(client, provider.url, said)
            until(lambda: _count(proxy.traces, "messages_fts where messages_fts match 'marzipan'"))

            run(proxy.traces, session, "--yes")

            assert b"marzipan" not in left(proxy.traces)
            until(lambda: f"a person's forget of {session} was taken in" in proxy.log)
            said += [{"role": "user", "content": "Go on"}]
            assert say(client, provider.url, said) != session
            other = [{"role": "user", "content": "Something else"}]
            assert say(client, provider.url, other)
        proxy.stop()
        assert _count(proxy.traces, "calls where state = 'ok'") == 2
        assert "failed" not in proxy.log
        sound(proxy.traces)


def _count(path: Path, what: str) -> int:
    with closing(Database(path)) as database:
        return int(database.conn.execute(f"select count(*) from {what}").fetchone()[0])
