"""Calls beyond their budget: what real clients hear of it, and what two proxies share."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google.genai import errors as gemini

from lab import Answer, Asked, FakeProvider, Proxy
from lab.chats import CHATS, Line
from lab.fleet import Talk, talks
from lab.servers import RedisServer

DEADLINE_SECONDS = 10.0
RAISED = {
    "anthropic": anthropic.RateLimitError,
    "openai_chat": openai.RateLimitError,
    "openai_responses": openai.RateLimitError,
    "gemini": gemini.ClientError,
}


def model(asked: Asked) -> Answer:
    return Answer(f"Answer {asked.serial}.")


@contextmanager
def limited(
    addon_script: Path, folder: Path, url: str, name: str = "", **settings: Any
) -> Iterator[Proxy]:
    """A proxy before an upstream, with these settings of rate_limiting."""
    file = folder / f"settings{name}.yaml"
    file.write_text(json.dumps({"rate_limiting": settings, "admin": {"enabled": False}}))
    traces = str(folder / f"traces{name}.db")
    options = {"callerid_config": str(file), "callerid_db": traces}
    with Proxy(addon_script, mode=f"reverse:{url}", options=options) as proxy:
        yield proxy


def states(folder: Path, name: str = "") -> list[str]:
    """How the calls on record ended, in their order."""
    with closing(sqlite3.connect(folder / f"traces{name}.db")) as database:
        return [state for (state,) in database.execute("select state from calls order by rowid")]


def trouble(proxy: Proxy) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{proxy.url}/metrics", trust_env=False).json()["trouble"]
    return found


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(model, tls=False) as provider:
        yield provider


@pytest.fixture(scope="module")
def proxy(
    addon_script: Path, tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("blocked")
    with limited(
        addon_script, folder, provider.url, per_session={"requests_per_minute": 1}
    ) as proxy:
        yield proxy
    assert states(folder) == ["ok", "blocked"] * len(CHATS) * 2


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", CHATS)
def test_the_vendors_sdks_raise_their_own_errors_and_know_when_to_come_back(
    proxy: Proxy, provider: FakeProvider, dialect: str, streams: bool
) -> None:
    line = Line(proxy.ca_file, None, proxy.url)
    chat = CHATS[dialect](line, f"You are {dialect} {streams}.", (), streams=streams)
    chat.ask("Hello")
    asked = len(provider.asked)

    with pytest.raises(RAISED[dialect]) as refused:
        chat.ask("And again")
    chat.close()

    assert "has used its 1 requests a minute; again in" in str(refused.value)
    assert len(provider.asked) == asked
    assert 0 < int(chat.heard[-1]["retry-after"]) <= 60
    assert chat.heard[-1]["x-callerid-session-id"] == chat.heard[0]["x-callerid-session-id"]
    said = getattr(refused.value, "response", None)
    assert said is not None
    assert int(said.headers["retry-after"]) > 0


def test_warned_of_calls_are_forwarded_and_counted(
    addon_script: Path, tmp_path: Path, provider: FakeProvider
) -> None:
    limits = {"tokens_per_hour": 100}
    asked = len(provider.asked)
    with (
        limited(addon_script, tmp_path, provider.url, per_session=limits, action="warn") as proxy,
        talks(["one"]) as (talk,),
    ):
        codes = [talk.say(proxy.url).status_code for _ in range(3)]
        counted = trouble(proxy)["over_budget"]
        log = proxy.log

    assert codes == [200] * 3
    assert len(provider.asked) == asked + 3
    assert counted == 2
    assert "has used its 100 tokens an hour" in log
    assert states(tmp_path) == ["ok"] * 3


# A storage that proxies share


def test_two_proxies_share_a_budget_and_traffic_flows_when_redis_is_gone(
    addon_script: Path, tmp_path: Path, provider: FakeProvider, own_redis: RedisServer
) -> None:
    shared: dict[str, Any] = {
        "storage": own_redis.url,
        "deadline_seconds": 0.5,
        "per_session": {"requests_per_minute": 3},
        "per_root": {"tokens_per_hour": 200},
    }

    def ask(proxy: Proxy, talk: Talk, id: str) -> int:
        return talk.say(proxy.url, headers={"x-session-id": id}).status_code

    with (
        limited(addon_script, tmp_path, provider.url, "1", **shared) as one,
        limited(addon_script, tmp_path, provider.url, "2", **shared) as two,
        talks(["a", "b", "c"]) as (a, b, c),
    ):
        by_tokens = [ask(one, a, "run-1"), ask(two, b, "run-1")]
        wait_until_spent(own_redis)
        by_tokens += [ask(one, a, "run-1"), ask(two, b, "run-1")]
        alone = ask(two, c, "run-2")
        before = trouble(one)
        own_redis.hang()
        began = time.monotonic()
        hung = [ask(one, a, "run-1") for _ in range(2)]
        took = time.monotonic() - began
        own_redis.kill()
        gone = [ask(proxy, a, "run-1") for proxy in (one, two, one)]
        after = [trouble(proxy) for proxy in (one, two)]

    assert by_tokens == [200, 200, 429, 429]
    assert alone == 200
    assert before == {}
    assert hung == [200, 200]
    assert took < 5
    assert gone == [200] * 3
    for counted in after:
        assert set(counted) <= {"budget_late", "budget_lost"}
        assert counted["budget_lost"] >= 1
    assert states(tmp_path, "1") == ["ok", "blocked", "ok", "ok", "ok", "ok"]


def test_proxies_that_share_sessions_share_budgets_of_those_who_say_no_id(
    addon_script: Path, tmp_path: Path, provider: FakeProvider, own_redis: RedisServer
) -> None:
    kept = {"backend": "redis", "connection": own_redis.url, "deadline_seconds": 2}
    budgets = {
        "storage": own_redis.url,
        "deadline_seconds": 2,
        "per_session": {"requests_per_minute": 3},
        "per_agent": {"requests_per_minute": 5},
    }
    (tmp_path / "settings.yaml").write_text(
        json.dumps({
            "session": {"persistence": kept}, "rate_limiting": budgets, "admin": {"enabled": False},
        })
    )  # fmt: skip
    mode = f"reverse:{provider.url}"
    options = {"callerid_config": str(tmp_path / "settings.yaml")}
    key = {"authorization": "Bearer sk-of-one-customer-0123456789"}

    with (
        Proxy(addon_script, mode=mode, options=options) as one,
        Proxy(addon_script, mode=mode, options=options) as two,
        talks(["a", "b"]) as (a, b),
    ):
        of_session = [a.say(at.url, headers=key).status_code for at in (one, two, one, two)]
        of_agent = [b.say(at.url, headers=key) for at in (two, one, two)]
        told = [trouble(proxy) for proxy in (one, two)]

    assert of_session == [200, 200, 200, 429]
    assert [reply.status_code for reply in of_agent] == [200, 200, 429]
    assert "the agent" in of_agent[-1].text
    assert told == [{}, {}]


def wait_until_spent(redis: RedisServer) -> None:
    """Tokens are counted beside the calls: wait until those of two calls are."""
    from redis import Redis as Client

    end = time.monotonic() + DEADLINE_SECONDS
    with Client("127.0.0.1", redis.port, decode_responses=True) as client:
        while sum(int(client.get(key) or 0) for key in client.scan_iter("*TOKENS*")) < 300:
            assert time.monotonic() < end, "the tokens were not counted"


def test_the_last_call_of_a_budget_goes_to_one_of_two_proxies(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    """Both ask at once, and both are told that there is one left: only one may take it."""
    from callerid.dispatch.budgets import Budgets
    from callerid.prices import Prices
    from callerid.settings.load import load
    from callerid.settings.values import Budget, RateLimitingSettings
    from callerid.turn import Because, Identity

    settings = RateLimitingSettings(
        per_session=Budget(requests_per_minute=1), storage=own_redis.url
    )
    one, two = (Budgets(settings, Prices(load().prices)) for _ in range(2))
    whose = Identity("s", "agent", "s", Because.HEADER, 1.0, "")
    moving = one._moving
    is_asked = moving.test

    def asked_at_once(*args: Any, **kwargs: Any) -> bool:
        answer = is_asked(*args, **kwargs)
        assert two.check(whose, "", time.time()) is None
        return answer

    moving.test = asked_at_once  # type: ignore[method-assign]

    assert one.check(whose, "", time.time()) is not None
