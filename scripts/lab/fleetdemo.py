"""Three workers, twelve conversations without ids, callerid between: what a fleet asks of it."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from callerid.traces import database as traces
from lab.fleet import CACHE_TOKENS, Door, Talk, Worker, hold, places, rounds, talks, workers
from lab.fleetreport import Report, Share, share
from lab.prefixcache import BLOCK
from lab.proxy import Proxy
from lab.servers import Missing, RedisServer

ADDON = Path(__file__).parents[2] / "addon" / "main.py"
TALKS = 12
TURNS = 6
CALLS_A_MINUTE = 12
SETTINGS = """
routing: {{upstreams: [{upstreams}], mode: {mode}, inherit: true, health: {{every_seconds: 0.5}}}}
rate_limiting: {{per_session: {{requests_per_minute: {calls}}}, storage: "{storage}",
  deadline_seconds: 0.5}}
admin: {{enabled: false}}
"""
# How long a proxy waits for Redis here: a demo's machine has much else to do.
SHARED = """
session: {{persistence: {{backend: redis, connection: "{redis}", deadline_seconds: 0.5}}}}
"""
DEADLINE_SECONDS = 10.0
TOLD_SECONDS = 0.2  # more than enough for other proxies to be told of a reply
ERRAND = "Find the tide table of Saint-Malo for the spring of 2026 and read out its highest line."


def without(fleet: list[Worker]) -> Share:
    """The load as a plain balancer distributes it: each call to the next worker."""
    names = [f"talk{number}" for number in range(TALKS)]
    turns = itertools.cycle(fleet)
    with talks(names) as held, ThreadPoolExecutor(4) as pool:
        replies = [
            reply
            for order in rounds(held, TURNS, "load")
            for reply in pool.map(Talk.say, order, [next(turns).url for _ in order])
        ]
    found = share("round robin", fleet, replies)
    for worker in fleet:
        worker.forget()
    return found


class Stage:
    """The fleet behind so many proxies, and the traces that they leave.

    Several share through Redis, at the URL `redis`.
    """

    def __init__(
        self, fleet: list[Worker], folder: Path, report: Report, count: int = 1, redis: str = ""
    ) -> None:
        self.fleet = fleet
        self.report = report
        self.count = count
        self._redis = redis
        self._folder = folder
        self.metered: Counter[str] = Counter()  # what /metrics said of the proxies that have ended

    def traces(self, mode: str) -> list[Path]:
        return [self._folder / f"{mode}{number}.db" for number in range(self.count)]

    @contextmanager
    def proxies(self, mode: str, fleet: list[Worker]) -> Iterator[Door]:
        """All proxies before some workers; the door to them. At its end their numbers are taken."""
        settings = self._folder / "settings.yaml"
        upstreams = ", ".join(worker.url for worker in fleet)
        storage = self._redis or "memory://"
        text = SETTINGS.format(
            upstreams=upstreams, mode=mode, calls=CALLS_A_MINUTE, storage=storage
        )
        settings.write_text(text + (SHARED.format(redis=self._redis) if self._redis else ""))
        with ExitStack() as stack:
            proxies = []
            for traces in self.traces(mode):
                options = {"callerid_config": str(settings), "callerid_db": str(traces)}
                # Reverse mode's own upstream is the worker that will be killed.
                proxy = Proxy(ADDON, mode=f"reverse:{fleet[0].url}", options=options)
                proxies.append(stack.enter_context(proxy))
            yield Door([proxy.url for proxy in proxies])
            for proxy in proxies:
                self.metered.update(metrics(proxy.url)["calls"]["by_state"])
                proxy.stop()


def metrics(url: str) -> Any:
    """The page /metrics, as JSON."""
    return httpx.get(f"{url}/metrics", trust_env=False).json()


def live(door: Door) -> dict[str, int]:
    """How many live sessions each upstream has, as the first proxy knows."""
    found = metrics(door.urls[0])["upstreams"]
    return {at: each["sessions"] for at, each in found.items()}


def wait_until_known(door: Door, gone: Worker) -> None:
    """Wait until every proxy knows that a worker is gone; each looks by itself."""
    end = time.monotonic() + DEADLINE_SECONDS
    for url in door.urls:
        while metrics(url)["upstreams"][gone.url]["well"] and time.monotonic() < end:
            time.sleep(0.02)


def load(stage: Stage, held: list[Talk], door: Door) -> Share:
    """The same load through callerid."""
    replies = hold(held, TURNS, door, "load")
    found = share("through callerid", stage.fleet, replies)
    at = list(places(stage.fleet).values())
    stage.report.check(
        "each of the twelve conversations is one session, and stays at its worker",
        all(len(talk.sessions) == 1 and "" not in talk.sessions for talk in held)
        and len(set().union(*(talk.sessions for talk in held))) == TALKS
        and found.stayed == TALKS,
    )
    spread = Counter(names[0] for names in at)
    if stage.count == 1:
        stage.report.check("each worker has four of them", set(spread.values()) == {TALKS // 3})
    else:
        counts = " / ".join(str(spread[worker.name]) for worker in stage.fleet)
        stage.report.check(
            "each worker has some of them: each proxy counts those that it knows",
            len(spread) == len(stage.fleet), counts,
        )  # fmt: skip
    return found


def restarted(stage: Stage, held: list[Talk], door: Door) -> None:
    """The proxies were restarted."""
    replies = hold(held, 1, door, "restart")
    who = "the proxy" if stage.count == 1 else "all proxies"
    stage.report.check(
        f"after a restart of {who} all are known, and at their worker",
        all(reply.status_code == 200 for reply in replies)
        and all(len(talk.sessions) == 1 for talk in held)
        and all(len(set(at)) == 1 for at in places(stage.fleet).values()),
    )


def helper(stage: Stage, door: Door) -> None:
    """A conversation sends a helper, which may begin where its parent is."""
    asks = f"parent-1 SEND A HELPER: {ERRAND}"
    with talks(["parent", "other", "child"]) as (parent, other, child):
        parent.say(door.next(), asks)
        other.say(door.next())
        counts = live(door)
        child.messages = [{"role": "system", "content": "You read tide tables."}]
        child.say(door.next(), ERRAND)
        said = child.heard[-1].headers.get("x-callerid-parent-session-id")
    at = [worker.url for worker in stage.fleet if worker.heard(asks)]
    is_there = {said} == parent.sessions and at == [
        worker.url for worker in stage.fleet if worker.heard(ERRAND)
    ]
    if stage.count == 1:
        stage.report.check(
            "inherit: true: a helper is at its parent's worker, though others have fewer sessions",
            is_there and counts[at[0]] > min(counts.values()),
        )
    else:
        stage.report.check(
            "inherit: true: a helper that comes to another proxy is at its parent's worker",
            is_there,
        )


def killed(stage: Stage, held: list[Talk], door: Door) -> None:
    """A worker is killed, and its conversations go on elsewhere."""
    before = {name: set(at) for name, at in places(stage.fleet).items()}
    gone = stage.fleet[0]
    turns = len(held[0].heard)
    gone.kill()
    if stage.count > 1:
        wait_until_known(door, gone)
    replies = hold(held, 1, door, "killed") + hold(held, 1, door, "and after")
    after = places(stage.fleet, turns)
    lost = [name for name, at in before.items() if gone.name in at and name in after]
    check = stage.report.check
    again = sum(talk.repeated for talk in held)
    check(
        f"w1 is killed: its {_words(len(lost))} conversations go on at once, elsewhere",
        bool(lost) and all(reply.status_code == 200 for reply in replies),
        f"calls asked twice: {again}",
    )
    check("they stay there", all(len(set(after[name])) == 1 for name in lost))
    check(
        "the others stay where they were",
        all(set(at) == before[name] for name, at in after.items() if name not in lost),
    )


def _words(number: int) -> str:
    return {3: "three", 4: "four", 5: "five"}.get(number, str(number))


def closed(stage: Stage, held: list[Talk], door: Door) -> None:
    """Two conversations say that this is their last call."""
    before = sum(live(door).values())
    finals = ("x-callerid-session-final", "x-dynamo-session-final")
    for talk, header in zip(held, finals, strict=False):
        talk.say(door.next(), "talk Thank you, that is all.", {header: "true"})
    after = sum(live(door).values())
    stage.report.check(
        "a last call is answered and closes its session",
        (after == before - 2 or stage.count > 1)
        and all(talk.heard[-1].status_code == 200 for talk in held[:2]),
    )


def blocked(stage: Stage, door: Door) -> None:
    """One session makes more calls a minute than its budget has."""
    with talks(["busy"]) as (talk,):
        for _ in range(CALLS_A_MINUTE + 1):
            talk.say(door.next())
    last = talk.heard[-1]
    arrived = sum("busy-1" in asked.body.decode() for w in stage.fleet for asked in w.asked)
    stage.report.check(
        f"{CALLS_A_MINUTE} calls a minute: a session's next one is answered 429, and goes nowhere",
        [reply.status_code for reply in talk.heard] == [200] * CALLS_A_MINUTE + [429]
        and arrived == CALLS_A_MINUTE
        and 0 < int(last.headers.get("retry-after", "0")) <= 60,
        f"retry-after: {last.headers.get('retry-after')}",
    )


def hard(stage: Stage) -> None:
    """The same in `mode: hard`: who has lost his place, or closed it, is told so."""
    fleet = stage.fleet[1:]
    check = stage.report.check
    names = ["new", *(f"hard{number}" for number in range(TALKS // 2))]
    with stage.proxies("hard", fleet) as door, talks(names) as (new, *held):
        for talk in held:
            talk.say(door.urls[0])
        at = places(fleet)
        there, here = ([talk for talk in held if at[talk.name] == [w.name]] for w in fleet)
        check("hard: each worker that is left has a conversation", bool(there and here))
        if not (there and here):
            return
        loses, stays = there[0], here[0]
        ends = next(talk for talk in held if talk not in (loses, stays))
        ends.say(door.next(), "That is all.", {"x-dynamo-session-final": "true"})
        if stage.count > 1:
            time.sleep(TOLD_SECONDS)
        after = ends.say(door.next(), "One more thing.")
        check(
            "hard: a call after the last one is answered 410",
            after.status_code == 410 and "declared final" in after.text,
        )
        fleet[0].kill()
        if stage.count > 1:
            wait_until_known(door, fleet[0])
        lost = loses.say(door.next())
        check(
            "hard: w2 is killed, and its session is told to begin anew: 410",
            lost.status_code == 410 and "begin a new session" in lost.text,
        )
        goes_on, begun = stays.say(door.next()), new.say(door.next())
        check(
            "hard: the session of w3 goes on, and a new one is served there",
            (goes_on.status_code, begun.status_code) == (200, 200),
            " ".join(reply.text for reply in (goes_on, begun) if reply.status_code != 200),
        )


def agree(stage: Stage, found: Share) -> None:
    """What /metrics counted, what the workers said, and what is on record."""
    counted: Counter[str] = Counter()
    begun: list[dict[str, Any]] = []
    query = "select started_at, cache_read_input_tokens from calls"
    for path in (*stage.traces("soft"), *stage.traces("hard")):
        database = traces.open_database(path)
        for row in database.query("select state, count(*) as n from calls group by state"):
            counted[row["state"]] += row["n"]
        if path in stage.traces("soft"):
            begun += list(database.query(f"{query} order by started_at limit {TALKS * TURNS}"))
        database.conn.close()
    first = sorted(begun, key=lambda row: row["started_at"])[: TALKS * TURNS]
    cached = sum(row["cache_read_input_tokens"] or 0 for row in first)
    said = ", ".join(f"{n} {state}" for state, n in sorted(counted.items()))
    stage.report.check(
        "/metrics agrees with select count(*) in traces.db", stage.metered == counted, said
    )
    stage.report.check(
        "the tokens from cache on record are those that the workers said", cached == found.cached
    )


def play(folder: Path, console: Console, count: int, redis: str) -> int:
    """All of it; how much was wrong."""
    report = Report(console)
    names = [f"talk{number}" for number in range(TALKS)]
    with ExitStack() as stack:
        fleet = stack.enter_context(workers(3))
        plain = without(fleet)
        stage = Stage(fleet, folder, report, count, redis)
        held = stack.enter_context(talks(names))
        with stage.proxies("soft", fleet) as door:
            through = load(stage, held, door)
        with stage.proxies("soft", fleet) as door:
            restarted(stage, held, door)
            helper(stage, door)
            killed(stage, held, door)
            closed(stage, held, door)
            blocked(stage, door)
        hard(stage)
        agree(stage, through)
    report.check(
        "more of the prompts comes from the caches than with round robin",
        through.tokens == plain.tokens and through.cached > plain.cached,
    )
    report.shares([plain, through])
    return report.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo --fleet", description=__doc__)
    parser.add_argument("--redis", action="store_true", help="several proxies that share by Redis")
    parser.add_argument("--proxies", type=int, default=3, help="how many, with --redis")
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    began = time.monotonic()
    count = asked.proxies if asked.redis else 1
    what = (
        "one real mitmdump" if count == 1 else f"{count} real mitmdumps in turn, and a redis-server"
    )
    console.print(
        f"Three workers, each with a prefix cache of {CACHE_TOKENS:,} tokens in blocks of {BLOCK}; "
        f"{TALKS} conversations without\nids, {TURNS} turns each, interleaved; {what}:",
        soft_wrap=True,
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="callerid-fleet-"))
        try:
            redis = stack.enter_context(RedisServer()).url if asked.redis else ""
        except Missing as missing:
            print(f"scripts/demo --fleet --redis: {missing}", file=sys.stderr)
            return 1
        wrong = play(Path(folder), console, count, redis)
    took = time.monotonic() - began
    console.print(f"{wrong} wrong" if wrong else f"All right ({took:.1f} s).")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
