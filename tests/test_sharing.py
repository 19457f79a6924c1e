"""Proxies that share sessions, when things happen at once, or what they share is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import make as makes
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard, Turn
from callerid.proxy.joining import joining
from callerid.settings.load import load
from callerid.settings.values import PersistenceSettings
from callerid.sharing import form
from callerid.sharing.engine import MOST_OWNERS, Away, Engine, Found, Write
from callerid.sharing.resp import place
from callerid.turn import Client, Dialect, Relation, Request
from lab.servers import RedisServer
from several import Several, engine_maker

BACKENDS = ("file", "redis", "postgres")
HELLO = {"user": "Where does the Danube end?"}
SAID = {"assistant": "It ends in the Black Sea, in a delta of many arms."}


@pytest.fixture(params=BACKENDS)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Several]:
    """Two proxies that share."""
    together = Several(engine_maker(request.param, tmp_path, request), 2)
    yield together
    together.close()


def asks(*said: dict[str, Any], key: str = "", headers: Any = (), system: str = "") -> Request:
    body = makes.body(Dialect.OPENAI_CHAT, said, system)
    client = Client(scope=key, connection="c")
    raw = makes.encoded(body)
    path = makes.PATHS[Dialect.OPENAI_CHAT]
    return Request("POST", "https", "llm.example", 443, path, headers, raw, client)


def reply(words: str = SAID["assistant"], id: str = "r1") -> Any:
    message = {"role": "assistant", "content": words}
    return makes.whole(Dialect.OPENAI_CHAT, {"id": id, "choices": [{"message": message}]})


def talk(together: Several, by: int, *said: dict[str, Any], words: str = "", **more: Any) -> Turn:
    """A call by one of the proxies, answered."""
    now = time.time()
    turn = together.take(asks(*said, **more), now, by)
    assert turn is not None
    assert turn.identity is not None
    together.answer(turn, reply(words or SAID["assistant"]), now)
    return turn


def session(turn: Turn) -> str:
    assert turn.identity is not None
    return turn.identity.session_id


# What an engine promises


def write(id: str, version: int, names: list[bytes] | None = None, **more: Any) -> Write:
    return Write(id, version, b"head%d" % version, b"entry%d" % version, 60.0, names or [], **more)


def test_an_engine_gives_what_the_asker_lacks(two: Several) -> None:
    one, other = two.engines

    async def ask() -> list[list[Found]]:
        for version in range(3):
            assert await one.put([write("s", version, [b"p\x00\xff\n1"])])
        return [
            await other.look([b"p\x00\xff\n1", b"nobody"], [], {}),
            await other.look([b"p\x00\xff\n1"], [], {"s": 2}),
            await other.look([], ["s", "nobody"], {"s": 3}),
            await other.look([], ["s"], {"s": 99}),
        ]

    entries = [b"entry0", b"entry1", b"entry2"]
    whole = [Found("s", 3, 0, b"head2", entries)]
    assert two.run(ask()) == [whole, [Found("s", 3, 2, b"head2", [b"entry2"])], [], whole]


def test_of_two_who_write_at_once_the_second_is_told_and_nothing_of_his_is_kept(
    two: Several,
) -> None:
    one, other = two.engines

    async def ask() -> tuple[list[bool], list[Found]]:
        await one.put([write("a", 0)])
        puts = [one.put([write("a", 1)]), other.put([write("b", 0, [b"n"]), write("a", 1)])]
        return list(await asyncio.gather(*puts)), await one.look([b"n"], ["a", "b"], {})

    taken, found = two.run(ask())

    assert sorted(taken) == [False, True]
    assert {each.id for each in found} == ({"a"} if taken[0] else {"a", "b"})
    assert next(each.version for each in found if each.id == "a") == 2


def test_a_name_finds_the_newest_sessions_and_not_too_many(two: Several) -> None:
    engine = two.engines[0]

    async def ask() -> tuple[set[str], set[str]]:
        for number in range(MOST_OWNERS + 4):
            await engine.put([write(f"s{number}", 0, [b"same"])])
        many = {each.id for each in await engine.look([b"same"], [], {})}
        await engine.put([Write("s19", 1, b"", b"", 60.0, [], [b"same"])])
        return many, {each.id for each in await engine.look([b"same"], [], {})}

    many, fewer = two.run(ask())

    assert many == {f"s{number}" for number in range(4, MOST_OWNERS + 4)}
    assert fewer == many - {"s19"}


def test_what_was_claimed_first_stands_and_what_was_dropped_is_gone(two: Several) -> None:
    one, other = two.engines

    async def ask() -> tuple[list[bytes], list[Found], bool]:
        claimed = [await one.claim("k", b"first", 0), await other.claim("k", b"second", 60)]
        await one.put([write("s", 0, [b"n"])])
        await one.put([write("s", 1)])
        await other.drop(["s", "nobody"])
        return claimed, await one.look([b"n"], ["s"], {}), await one.put([write("s", 0)])

    assert two.run(ask()) == ([b"first", b"first"], [], True)


def test_what_has_outlived_its_time_is_not_found(two: Several) -> None:
    engine = two.engines[0]

    async def ask() -> tuple[list[Found], bool]:
        await engine.put([Write("s", 0, b"h", b"e", 0.05, [b"n"])])
        await asyncio.sleep(0.2)
        return await engine.look([b"n"], ["s"], {}), await engine.put([write("s", 0)])

    assert two.run(ask()) == ([], True)


# What happens at once


def test_of_two_who_go_on_from_one_point_at_once_one_goes_on_and_one_forks(two: Several) -> None:
    origin = session(talk(two, 0, HELLO))
    now = time.time()
    branches = [asks(HELLO, SAID, {"user": words}) for words in ("And the Rhine?", "And the Po?")]

    async def both() -> list[Turn | None]:
        return await asyncio.gather(
            *(two.taking(each, now, at) for at, each in enumerate(branches))
        )

    turns = [turn for turn in two.run(both()) if turn is not None and turn.identity is not None]
    two.settle()

    went_on = [turn for turn in turns if session(turn) == origin]
    forked = [turn for turn in turns if turn.identity.relation is Relation.FORK]  # type: ignore[union-attr]
    assert (len(went_on), len(forked)) == (1, 1)
    assert forked[0].identity.parent_session_id == origin  # type: ignore[union-attr]
    assert two.guard.counts == {}


def test_two_who_hear_of_a_declared_session_at_once_hear_of_one(two: Several) -> None:
    headers = (("x-session-id", "job-1"),)
    now = time.time()

    async def both() -> list[Turn | None]:
        calls = [asks({"user": f"Step {at}"}, headers=headers) for at in range(2)]
        return await asyncio.gather(*(two.taking(each, now, at) for at, each in enumerate(calls)))

    turns = two.run(both())
    two.settle()

    assert {session(turn) for turn in turns if turn} == {"job-1"}
    third = two.take(asks({"user": "Step 3"}, headers=headers), now, 0)
    assert third is not None
    assert third.is_known
    assert third.session is not None
    assert third.session.calls == 3


def test_many_calls_of_one_session_at_once_are_all_counted_by_all(two: Several) -> None:
    headers = (("x-session-id", "job-1"),)
    now = time.time()

    async def many() -> list[Turn | None]:
        calls = [asks({"user": f"Step {at}"}, headers=headers) for at in range(12)]
        return await asyncio.gather(*(two.taking(c, now, at % 2) for at, c in enumerate(calls)))

    turns = two.run(many())
    two.settle()
    for turn in turns:
        assert turn is not None
        two.answer(turn, reply(f"Done {id(turn)}"), now)
    last = two.take(asks({"user": "The end"}, headers=headers), now, 1)

    assert last is not None
    assert last.session is not None
    assert last.session.calls == 13
    assert two.guard.counts == {}


def test_a_call_that_comes_before_the_reply_to_the_last_was_told_goes_on(two: Several) -> None:
    """Its client has the reply already; the proxy that read it has not told the other yet."""
    first = two.take(asks(HELLO), time.time(), 0)
    assert first is not None

    second = two.take(asks(HELLO, SAID, {"user": "And the Po?"}), time.time(), 1)
    two.answer(first, reply(), time.time())
    third = talk(two, 0, HELLO, SAID, {"user": "And the Po?"}, {"assistant": "."}, {"user": "So?"})

    assert second is not None
    assert {session(first), session(second), session(third)} == {session(first)}


def test_close_variants_of_a_prompt_are_one_agent_wherever_they_are_met_first(two: Several) -> None:
    prompt = "You are a keeper of lighthouses. " + "Keep the lamp lit and the log in order. " * 20
    variants = [prompt, prompt + "Be brief."]

    agents = {
        turn.identity.agent_id
        for at, system in enumerate(variants)
        for turn in (talk(two, at, {"user": f"Hello {at}"}, system=system),)
        if turn.identity is not None
    }

    assert len(agents) == 1


def test_sessions_of_two_customers_stay_two_wherever_they_are(two: Several) -> None:
    alice = talk(two, 0, HELLO, key="alice")
    bob = talk(two, 1, HELLO, SAID, {"user": "And the Po?"}, key="bob")
    again = talk(two, 1, HELLO, SAID, {"user": "And the Rhine?"}, key="alice")
    named = [talk(two, at, HELLO, key=key, headers=(("x-session-id", "default"),))
             for at, key in enumerate(("alice", "bob"))]  # fmt: skip

    assert session(bob) != session(alice) == session(again)
    assert session(named[0]) == "default"
    assert session(named[1]).startswith("default-")


def test_a_parent_and_a_mark_are_of_one_customer_wherever_they_are_said(two: Several) -> None:
    def roots(at: int, key: str, **headers: str) -> set[str]:
        said = tuple(
            (f"x-callerid-{name}-id".replace("_", "-"), id) for name, id in headers.items()
        )
        turn = talk(two, at, {"user": f"{headers} of {key}"}, key=key, headers=said)
        assert turn.identity is not None
        return {turn.identity.session_id, turn.identity.root_session_id}

    alice = roots(0, "alice", session="job")
    marked = session(talk(two, 0, {"user": "One"}, key="bob", headers=(("x-session-id", "job"),)))
    alice |= roots(1, "alice", session=marked)
    bob = {marked} | roots(1, "bob", session="job")
    alice |= roots(0, "alice", session="child-1", parent_session="root-1")
    bob |= roots(1, "bob", session="child-2", parent_session="root-1")

    assert len(bob) == 3
    assert not alice & bob
    assert two.guard.counts == {}


def test_a_session_read_anew_takes_the_place_of_what_all_knew_of_it(two: Several) -> None:
    first = talk(two, 0, HELLO)
    talk(two, 1, HELLO, SAID, {"user": "And the Po?"}, words="In the Adriatic Sea, near Venice.")
    board = two.boards[0]
    board.memory.forget(session(first))
    aside = board.beside()
    corrected = aside.take(asks({"user": "Quite another opening"}), time.time())
    assert corrected is not None
    assert corrected.session is not None
    aside.memory.forget(corrected.session.id)
    corrected.session.id = session(first)
    aside.memory.touch(corrected.session, time.time())
    board.memory.replace([session(first)], aside.memory)

    async def tell() -> None:
        two.sharing[0].tell_anew([session(first)])

    two.run(tell())
    two.settle()
    stranger = two.begin()
    gone = two.take(asks(HELLO, SAID, {"user": "And the Rhine?"}), time.time(), stranger)

    assert gone is not None
    assert session(gone) != session(first)
    assert two.guard.counts == {}


# What people forget


def forgets(together: Several, by: int, id: str) -> None:
    """A person forgets a session at one of the proxies, which tells of it."""
    together.boards[by].memory.forget(id)

    async def tell() -> None:
        together.sharing[by].tell_anew([id])
        await together.sharing[by].forgotten.exchange()

    together.run(tell())
    together.settle()


def finds(together: Several, id: str) -> list[Found]:
    async def look() -> list[Found]:
        return await together.engines[0].look([], [id], {})

    return together.run(look())


def test_what_is_forgotten_at_one_proxy_the_others_forget_though_nobody_calls(
    two: Several,
) -> None:
    kept = talk(two, 0, {"user": "What else is there?"}, key="other")
    first = talk(two, 0, HELLO)
    talk(two, 1, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice.")
    forgets(two, 0, session(first))
    before = two.boards[1].memory.get(session(first))
    two.run(two.sharing[1].forgotten.exchange())

    assert before is not None
    assert two.boards[1].memory.get(session(first)) is None
    assert two.boards[0].memory.get(session(kept)) is not None
    assert finds(two, session(first)) == []
    assert len(finds(two, session(kept))) == 1
    for by in (0, 1, two.begin()):
        again = talk(two, by, HELLO, SAID, {"user": f"And the {by}th?"})
        assert session(again) != session(first)
    assert two.guard.counts == {}


def test_who_goes_on_before_he_has_heard_of_it_does_not_bring_it_back(two: Several) -> None:
    first = talk(two, 0, HELLO)
    mine = talk(two, 1, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice.")
    forgets(two, 0, session(first))
    said = (HELLO, SAID, {"user": "And the Po?"}, {"assistant": "Near Venice."})
    again = talk(two, 1, *said, {"user": "Sure?"})

    assert session(mine) == session(first)
    assert session(again) != session(first)
    assert finds(two, session(first)) == []
    assert two.boards[1].memory.get(session(first)) is None


def test_a_reply_that_ends_after_its_session_was_forgotten_does_not_bring_it_back(
    two: Several,
) -> None:
    first = talk(two, 0, HELLO)
    turn = two.take(asks(HELLO, SAID, {"user": "And the Po?"}), time.time(), 1)
    assert turn is not None
    forgets(two, 0, session(first))
    two.answer(turn, reply("Near Venice."), time.time())

    assert finds(two, session(first)) == []
    assert two.boards[1].memory.get(session(first)) is None


def test_many_are_forgotten_and_two_may_forget_at_once(two: Several) -> None:
    ids = [[f"s{number}-{by}" for number in range(2500)] for by in range(2)]

    async def tell() -> None:
        for by in range(2):
            two.sharing[by].forgotten.tell(ids[by])
        await asyncio.gather(*(one.forgotten.exchange() for one in two.sharing))

    first = talk(two, 0, HELLO, headers=(("x-session-id", "s2499-1"),))
    two.run(tell())
    two.run(two.sharing[0].forgotten.exchange())

    assert [len(one.forgotten) for one in two.sharing] == [0, 0]
    assert session(first) == "s2499-1"
    assert two.boards[0].memory.get("s2499-1") is None


# When what is shared is away


@pytest.fixture
def apart(own_redis: RedisServer) -> Iterator[tuple[Several, RedisServer]]:
    from callerid.sharing.redis_engine import RedisEngine

    together = Several(lambda: RedisEngine(own_redis.url), 2, deadline=0.05)
    yield together, own_redis
    own_redis.go_on()
    together.close()


def waits(together: Several, until: float = 10.0) -> None:
    """Let the loop run until all is told, or the time is up."""

    async def quiet() -> None:
        end = time.monotonic() + until
        while any(len(one.publisher) for one in together.sharing) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    together.loop.run_until_complete(quiet())


async def is_back(engine: Engine) -> None:
    """Wait until an engine answers again."""
    while True:
        try:
            await engine.look([], ["nobody"], {})
        except Away:
            await asyncio.sleep(0.02)
        else:
            return


def alone(together: Several, by: int, *said: dict[str, Any], words: str = "") -> Turn:
    """A call while nothing can be told; how long it takes is held against the deadline."""
    now = time.time()
    began = time.monotonic()
    turn = together.run(together.taking(asks(*said), now, by))
    assert time.monotonic() - began < 0.5
    assert turn is not None
    at, _ = together._taken_by[id(turn)]
    together.boards[at].answer(turn, reply(words or SAID["assistant"]), now, has_failed=False)

    async def tell() -> None:
        together.sharing[at].told(turn)

    together.run(tell())
    return turn


def test_while_redis_hangs_each_goes_by_what_it_knows_and_tells_it_afterwards(
    apart: tuple[Several, RedisServer],
) -> None:
    together, redis = apart
    first = talk(together, 0, HELLO)
    redis.hang()

    went_on = alone(
        together, 0, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice, I think."
    )
    elsewhere = alone(together, 1, HELLO, SAID, {"user": "And the Rhine?"})
    hung = dict(together.guard.counts)
    redis.go_on()
    waits(together)
    after = talk(together, 1, HELLO, SAID, {"user": "And the Po?"},
                 {"assistant": "Near Venice, I think."}, {"user": "Sure?"})  # fmt: skip

    assert session(went_on) == session(first)
    assert session(elsewhere) != session(first)  # the second proxy had not heard of it
    assert session(after) == session(first)
    assert hung["sharing_late"] >= 2
    assert sum(len(one.publisher) for one in together.sharing) == 0


def test_a_call_that_was_known_too_late_goes_on_with_its_session_all_the_same(
    apart: tuple[Several, RedisServer],
) -> None:
    together, redis = apart
    first = talk(together, 0, HELLO)
    redis.hang()
    now = time.time()
    late = together.run(together.taking(asks(HELLO, SAID, {"user": "And the Po?"}), now, 1))
    redis.go_on()
    together.run(is_back(together.engines[1]))
    assert late is not None
    together.answer(late, reply("Near Venice, I think."), now)
    then = (HELLO, SAID, {"user": "And the Po?"}, {"assistant": "Near Venice, I think."})
    after = [talk(together, at, *then, {"user": f"Sure? {at}"}) for at in (0, 1)]

    assert session(late) != session(first)  # its client was told so before anybody knew better
    assert session(after[0]) == session(first)
    assert after[1].identity is not None
    assert after[1].identity.parent_session_id == session(first)


def test_a_session_that_two_went_on_with_meanwhile_is_joined(
    apart: tuple[Several, RedisServer],
) -> None:
    together, redis = apart
    first = talk(together, 0, HELLO)
    second = talk(together, 1, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice, I think.")
    then = (HELLO, SAID, {"user": "And the Po?"}, {"assistant": "Near Venice, I think."})
    redis.hang()

    ways = {}
    for at, words in enumerate(("It ends in the North Sea.", "It ends in the Aegean Sea.")):
        ways[words] = alone(together, at, *then, {"user": f"And number {at}?"}, words=words)
    redis.go_on()
    waits(together)
    stranger = together.begin()
    after = [
        talk(together, stranger, *then, {"user": f"And number {at}?"}, {"assistant": words},
             {"user": "Are you sure of that?"})
        for at, words in enumerate(ways)
    ]  # fmt: skip

    # Neither knew of the other: both went on with it. Who says either history is known by it.
    ids = {session(turn) for turn in (first, second, *ways.values())}
    assert len(ids) == 1
    assert all(
        session(turn) in ids or turn.identity.parent_session_id in ids  # type: ignore[union-attr]
        for turn in after
    )


def test_a_redis_that_was_killed_and_comes_back_empty_is_told_all_that_goes_on(
    apart: tuple[Several, RedisServer],
) -> None:
    together, redis = apart
    first = talk(together, 0, HELLO)
    redis.kill()
    alone(together, 0, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice, I think.")
    gone = dict(together.guard.counts)
    redis.start()
    for engine in together.engines:
        together.run(is_back(engine))
    waits(together)
    after = talk(together, 1, HELLO, SAID, {"user": "And the Po?"},
                 {"assistant": "Near Venice, I think."}, {"user": "Sure?"})  # fmt: skip
    back = talk(together, 0, HELLO, SAID, {"user": "And the Rhine?"})

    assert session(after) == session(first)
    assert back.identity is not None
    assert back.identity.parent_session_id == session(first)
    assert gone.get("sharing_lost", 0) >= 1


def test_what_was_forgotten_while_redis_was_away_is_told_when_it_is_back(
    apart: tuple[Several, RedisServer],
) -> None:
    together, redis = apart
    first = talk(together, 0, HELLO)
    talk(together, 1, HELLO, SAID, {"user": "And the Po?"}, words="Near Venice.")
    redis.hang()
    together.boards[0].memory.forget(session(first))

    async def tell() -> None:
        together.sharing[0].tell_anew([session(first)])

    together.run(tell())
    redis.go_on()
    for sharing in together.sharing:
        together.run(is_back(sharing.engine))
        together.run(sharing.forgotten.exchange())

    assert together.boards[1].memory.get(session(first)) is None
    assert finds(together, session(first)) == []


def test_every_key_in_redis_goes_by_itself_but_the_one_that_names_customers(
    redis_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from redis import Redis

    with Redis.from_url(redis_server.url) as client:
        before = set(client.keys())
        together = Several(engine_maker("redis", tmp_path, request), 2)
        talk(together, 0, HELLO, headers=(("x-session-id", "job-1"),), system="You are a clerk.")
        talk(together, 1, HELLO, SAID, {"user": "And the Po?"})
        together.close()
        keys = set(client.keys()) - before
        lives = {key: client.pttl(key) for key in keys}

    assert len(keys) > 5
    assert all(life > 0 for life in lives.values())


def test_where_no_word_may_be_written_down_none_is_told(
    redis_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from redis import Redis

    word = "zanzibar"
    said = {"user": f"Tell me about {word} and its harbours, please."}
    with Redis.from_url(redis_server.url) as client:
        before = set(client.keys())
        together = Several(engine_maker("redis", tmp_path, request), 2, keeps_words=False)
        first = talk(
            together, 0, said, words=f"{word} has one harbour.", system=f"You know {word}."
        )
        second = talk(together, 1, said, {"assistant": f"{word} has one harbour."}, {"user": "Oh"})
        together.close()
        held = b""
        for key in set(client.keys()) - before:
            kept = client.lrange(key, 0, -1) if client.type(key) == b"list" else [client.get(key)]
            held += key + b"".join(kept)

    assert session(first) == session(second)
    assert word.encode() not in held


# Joining


def joined(backend: str, connection: str, key: bytes) -> tuple[bytes, Guard]:
    """The key that a proxy with one of its own goes on with when it has joined."""
    kept = PersistenceSettings(backend=backend, connection=connection)  # type: ignore[arg-type]
    shipped = load()
    session = msgspec.structs.replace(shipped.settings.session, persistence=kept)
    settings = msgspec.structs.replace(shipped.settings, session=session)
    configuration = msgspec.structs.replace(shipped, settings=settings)
    guard, used = Guard(), [key]
    board = Switchboard(configuration, lambda prefix: prefix)
    from callerid.dispatch.routes import Routes

    made = joining(configuration, board, Routes(settings.routing), guard, key)
    assert made is not None
    made.use_key = used.append
    made.at_once()
    return used[-1], guard


def test_proxies_name_customers_by_the_key_of_the_first(tmp_path: Path) -> None:
    where = str(tmp_path / "shared.db")

    assert joined("file", where, b"1" * 32)[0] == b"1" * 32
    assert joined("file", where, b"2" * 32)[0] == b"1" * 32
    assert (tmp_path / "shared.db").stat().st_mode & 0o777 == 0o600


def test_a_proxy_that_reaches_nobody_begins_by_itself_and_says_so() -> None:
    key, guard = joined("redis", "redis://127.0.0.1:1/0", b"1" * 32)

    assert key == b"1" * 32
    assert guard.counts == {"sharing_lost": 1}


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://", "redis://h/x"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        place(url)


def test_an_engine_that_was_never_there_is_away(tmp_path: Path) -> None:
    from callerid.sharing.redis_engine import RedisEngine

    async def ask() -> None:
        engine = RedisEngine("redis://127.0.0.1:1/0")
        await engine.look([], ["s"], {})

    with pytest.raises(Away):
        asyncio.run(ask())


def test_half_of_a_character_keeps_no_session_from_the_others() -> None:
    cut = "a cut emoji \ud83d"
    entry = form.Entry([], 0, [], [], [], [cut], [], None, form.Words(True, cut, 1.0))

    heard = form.read_entry(form.written(entry))

    assert heard.opening is not None
    assert [heard.opening.text, *heard.tool_ids] == ["a cut emoji ?"] * 2
