"""The stories hold wherever sessions are kept: told to several proxies, and through restarts.

It is the one suite that all backends of session.persistence pass. Every story is told in the first
of its dialects: what is kept is the same in all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import story as reader
from callerid.turn import Dialect
from several import Restarted, Several, Skewed, Strangers, engine_maker
from test_stories import check

STORIES = list(reader.stories())
FIRST = [
    (name, story, dialect)
    for at, (name, story, dialect) in enumerate(STORIES)
    if not at or STORIES[at - 1][1] is not story
]

# What one proxy's memory says, and several cannot: a connection is a proxy's own, and how many
# sessions there may be is the engine's own bound. An opening that was answered finds nothing.
OF_ONE_PROXY = {
    "An agent that is told what another has done so far is the child of the one that waits",
    "Embeddings on one connection are one session, on another another",
    "The session silent for longest is forgotten first",
}
# What is not on record: in a restart replies that are under way are lost, second answers are
# left out; of a search only what its calls show; whose a forgotten id was; when a conversation
# opened that has not been answered.
LOST_IN_A_RESTART = {
    "Two conversations that open alike at the same time stay apart",
    "A declared id stays whose it was first, though that session is long forgotten",
    "A client that searches a tree makes branches, also from its newest call",
    "A person who has edited an earlier message and asks for another answer stays in the branch",
    "A prompt that goes on from an earlier reply is a fork",
    "A client that takes the second of two answers goes on with the same session",
    "Of two conversations that open alike, a title call goes with its connection",
    "A second answer to a tool call, while the first is being answered, is a branch",
    "Two rewritten histories that answer one tool call at once are two",
}


def told(stories: list[tuple[str, dict[str, Any], Dialect]], but: set[str]) -> Any:
    kept = [each for each in stories if each[1]["story"] not in but]
    return pytest.mark.parametrize(
        ("story", "dialect"),
        [(story, dialect) for _, story, dialect in kept],
        ids=[name for name, _, _ in kept],
    )


def hold(kind: type[Several], count: int, make: Any, story: dict[str, Any], dialect: Any) -> None:
    together = kind(make, count, reader.configuration(story))
    try:
        check(reader.tell(story, dialect, together))
        assert together.guard.counts == {}
    finally:
        together.close()


@told(FIRST, OF_ONE_PROXY)
def test_three_proxies_that_share_redis_say_of_each_call_what_one_would(
    request: pytest.FixtureRequest, tmp_path: Path, story: dict[str, Any], dialect: Dialect
) -> None:
    hold(Several, 3, engine_maker("redis", tmp_path, request), story, dialect)


# It is spoken in ten seconds before the hour is over, which is not so by every clock.
OF_ONE_CLOCK = OF_ONE_PROXY | {"A session that nobody has spoken in for an hour is forgotten"}


@told(FIRST, OF_ONE_CLOCK)
def test_proxies_whose_clocks_differ_by_a_minute_say_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, story: dict[str, Any], dialect: Dialect
) -> None:
    hold(Skewed, 3, engine_maker("file", tmp_path, request), story, dialect)


@pytest.mark.parametrize("backend", ["file", "redis", "postgres"])
@told(FIRST, OF_ONE_PROXY)
def test_a_proxy_that_has_just_begun_knows_what_all_others_know(
    request: pytest.FixtureRequest, tmp_path: Path, story: dict[str, Any], dialect: Dialect,
    backend: str,
) -> None:  # fmt: skip
    hold(Strangers, 1, engine_maker(backend, tmp_path, request), story, dialect)


@told(FIRST, LOST_IN_A_RESTART)
def test_a_proxy_that_is_restarted_before_each_call_knows_what_is_on_record(
    tmp_path: Path, story: dict[str, Any], dialect: Dialect
) -> None:
    one = Restarted(tmp_path / "traces.db", reader.configuration(story))

    check(reader.tell(story, dialect, one))

    one.close()
    assert one.guard.counts == {}
