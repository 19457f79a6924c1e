"""A fleet on loopback: workers with a prefix cache each, and conversations to keep them busy."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from lab.exchange import Answer, Asked, ToolCall, Usage
from lab.prefixcache import PrefixCache
from lab.provider import FakeProvider

MODEL = "fleet-8b"
SYSTEM = "You are a clerk of the harbour office. Answer from the tables you are given."
CACHE_TOKENS = 8192  # of a worker: its share of what is said in the demo fits, all of it does not
SAID = 120  # words of a person in a turn
ANSWERED = 60  # words of the model
TIMEOUT_SECONDS = 20.0
_WORDS = (
    "almanac barley candle dormouse ember falcon gravel harbour inkwell juniper kettle lantern "
    "meadow needle orchard pebble quarry ribbon saddle thimble umbrella velvet walnut yarrow "
    "is was has had took gave left found under over with without before after because unless"
)


def words(seed: str, count: int) -> str:
    """So many words that no other seed gives."""
    return " ".join([seed, *random.Random(seed).choices(_WORDS.split(), k=count - 1)])


class Worker:
    """One worker: it answers in words, and says how much of each prompt its cache had."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._cache = PrefixCache(CACHE_TOKENS)
        self._provider = FakeProvider(self._answer, tls=False)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._provider.port}"

    @property
    def asked(self) -> list[Asked]:
        """The calls that it was asked."""
        return self._provider.asked

    def start(self) -> None:
        self._running.enter_context(self._provider)

    def heard(self, text: str) -> bool:
        """Whether somebody has said this here."""
        return any(asked.json["messages"][-1]["content"] == text for asked in self.asked)

    def kill(self) -> None:
        """Close its port and every connection."""
        self._running.close()

    def forget(self) -> None:
        """Begin with an empty cache, asked nothing."""
        self._cache = PrefixCache(CACHE_TOKENS)
        self._provider.asked.clear()

    def _answer(self, asked: Asked) -> Answer:
        messages = asked.json["messages"]
        prompt = [word for message in messages for word in _tokens(message)]
        errand = messages[-1]["content"].partition("SEND A HELPER: ")[2]
        wishes = (ToolCall("delegate", {"task": errand}),) if errand else ()
        text = words(f"{self.name}-{asked.serial}", ANSWERED)
        return Answer(
            text, wishes, usage=Usage(len(prompt), self._cache.read(prompt), 0, ANSWERED, 0)
        )


def _tokens(message: Mapping[str, Any]) -> list[str]:
    """A word is a token."""
    return [f"<{message['role']}>", *(message["content"] or "").split()]


@contextmanager
def workers(count: int) -> Iterator[list[Worker]]:
    """Some workers, each at a port of its own."""
    made = [Worker(f"w{number}") for number in range(1, count + 1)]
    with ExitStack() as stack:
        for worker in made:
            worker.start()
            stack.callback(worker.kill)
        yield made


class Talk:
    """A conversation that says nothing of who it is; its history goes along with every call."""

    def __init__(self, name: str, system: str = SYSTEM) -> None:
        self.name = name
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
        self.heard: list[httpx.Response] = []
        self.repeated = 0
        self._client = httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS)

    @property
    def sessions(self) -> set[str]:
        """What callerid called it; a reply without a session counts as ""."""
        return {heard.headers.get("x-callerid-session-id", "") for heard in self.heard}

    def say(
        self, url: str, text: str = "", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One turn: with these words, or some that nobody has said yet.

        After a 502 it asks once again, as the vendors' SDKs do. Where it is refused, the words are
        as if they had not been said.
        """
        text = text or words(f"{self.name}-{len(self.messages)}", SAID)
        said = [*self.messages, {"role": "user", "content": text}]
        call = {"model": MODEL, "messages": said}
        reply = self._post(url, call, headers)
        if reply.status_code == 502:
            self.repeated += 1
            reply = self._post(url, call, headers)
        self.heard.append(reply)
        if reply.status_code == 200:
            answer = reply.json()["choices"][0]["message"]
            self.messages = [*said, {k: v for k, v in answer.items() if k != "refusal"}]
        return reply

    def _post(self, url: str, call: object, headers: Mapping[str, str] | None) -> httpx.Response:
        return self._client.post(f"{url}/v1/chat/completions", json=call, headers=headers)

    def close(self) -> None:
        self._client.close()


@contextmanager
def talks(names: Iterator[str] | list[str]) -> Iterator[list[Talk]]:
    """Some conversations."""
    made = [Talk(name) for name in names]
    try:
        yield made
    finally:
        for talk in made:
            talk.close()


def rounds(held: list[Talk], count: int, seed: str) -> Iterator[list[Talk]]:
    """The conversations, in another order each time: people do not take turns."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.sample(held, len(held))


class Door:
    """Where calls go in: at one proxy, or at several in turn."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self._turns = itertools.cycle(urls)

    def next(self) -> str:
        """The URL for the next call."""
        return next(self._turns)


def hold(held: list[Talk], count: int, door: Door, seed: str = "") -> list[httpx.Response]:
    """So many turns of each conversation at one door, four of them at a time."""
    with ThreadPoolExecutor(4) as pool:
        return [
            reply
            for order in rounds(held, count, seed)
            for reply in pool.map(lambda talk: talk.say(door.next()), order)
        ]


def places(fleet: list[Worker], since: int = 0) -> dict[str, list[str]]:
    """Which workers each conversation was at, from its call `since` on, in no order."""
    found: dict[str, list[str]] = {}
    for worker in fleet:
        for asked in worker.asked:
            said = [m["content"] for m in asked.json["messages"] if m["role"] == "user"]
            if len(said) > since:
                found.setdefault(said[0].partition("-")[0], []).append(worker.name)
    return found
