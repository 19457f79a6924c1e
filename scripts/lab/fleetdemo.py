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
from lab.fleet import CACHE_TOKENS, Talk, Worker, hold, places, rounds, talks, workers
from lab.fleetreport import Report, Share, share
from lab.prefixcache import BLOCK
from lab.proxy import Proxy

ADDON = Path(__file__).parents[2] / "addon" / "main.py"
TALKS = 12
TURNS = 6
CALLS_A_MINUTE = 12
SETTINGS = """
routing: {{upstreams: [{upstreams}], mode: {mode}, inherit: true}}
rate_limiting: {{per_session: {{requests_per_minute: {calls}}}}}
admin: {{enabled: false}}
"""
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
    """The fleet behind a proxy, and the traces that it leaves."""

    def __init__(self, fleet: list[Worker], folder: Path, report: Report) -> None:
        self.fleet = fleet
        self.report = report
        self._folder = folder
        self.metered: Counter[str] = Counter()  # what /metrics said of the proxies that have ended

    def traces(self, mode: str) -> Path:
        return self._folder / f"{mode}.db"

    @contextmanager
    def proxy(self, mode: str, fleet: list[Worker]) -> Iterator[str]:
        """A proxy before some workers; its URL. At its end its numbers are taken."""
        settings = self._folder / "settings.yaml"
        upstreams = ", ".join(worker.url for worker in fleet)
        text = SETTINGS.format(upstreams=upstreams, mode=mode, calls=CALLS_A_MINUTE)
        settings.write_text(text)
        options = {"callerid_config": str(settings), "callerid_db": str(self.traces(mode))}
        # Reverse mode's own upstream is the worker that will be killed.
        with Proxy(ADDON, mode=f"reverse:{fleet[0].url}", options=options) as proxy:
            yield proxy.url
            figures = metrics(proxy.url)
            self.metered.update(figures["calls"]["by_state"])
            proxy.stop()


def metrics(url: str) -> Any:
    """The page /metrics, as JSON."""
    return httpx.get(f"{url}/metrics", trust_env=False).json()


def live(url: str) -> dict[str, int]:
    """How many live sessions each upstream has."""
    return {at: each["sessions"] for at, each in metrics(url)["upstreams"].items()}


def load(stage: Stage, held: list[Talk], url: str) -> Share:
    """The same load through callerid."""
    replies = hold(held, TURNS, url, "load")
    found = share("through callerid", stage.fleet, replies)
    at = list(places(stage.fleet).values())
    stage.report.check(
        "each of the twelve conversations is one session, and stays at its worker",
        all(len(talk.sessions) == 1 and "" not in talk.sessions for talk in held)
        and len(set().union(*(talk.sessions for talk in held))) == TALKS
        and found.stayed == TALKS,
    )
    spread = Counter(names[0] for names in at)
    stage.report.check("each worker has four of them", set(spread.values()) == {TALKS // 3})
    return found


def restarted(stage: Stage, held: list[Talk], url: str) -> None:
    """The proxy was restarted."""
    replies = hold(held, 1, url, "restart")
    stage.report.check(
        "after a restart of the proxy all are known, and at their worker",
        all(reply.status_code == 200 for reply in replies)
        and all(len(talk.sessions) == 1 for talk in held)
        and all(len(set(at)) == 1 for at in places(stage.fleet).values()),
    )


def helper(stage: Stage, url: str) -> None:
    """A conversation sends a helper, which may begin where its parent is."""
    asks = f"parent-1 SEND A HELPER: {ERRAND}"
    with talks(["parent", "other", "child"]) as (parent, other, child):
        parent.say(url, asks)
        other.say(url)
        counts = live(url)
        child.messages = [{"role": "system", "content": "You read tide tables."}]
        child.say(url, ERRAND)
        said = child.heard[-1].headers.get("x-callerid-parent-session-id")
    at = [worker.url for worker in stage.fleet if worker.heard(asks)]
    stage.report.check(
        "inherit: true: a helper is at its parent's worker, though others have fewer sessions",
        {said} == parent.sessions
        and at == [worker.url for worker in stage.fleet if worker.heard(ERRAND)]
        and counts[at[0]] > min(counts.values()),
    )


def killed(stage: Stage, held: list[Talk], url: str) -> None:
    """A worker is killed, and its conversations go on elsewhere."""
    before = {name: set(at) for name, at in places(stage.fleet).items()}
    gone = stage.fleet[0]
    turns = len(held[0].heard)
    gone.kill()
    replies = hold(held, 1, url, "killed") + hold(held, 1, url, "and after")
    after = places(stage.fleet, turns)
    lost = [name for name, at in before.items() if gone.name in at and name in after]
    check = stage.report.check
    again = sum(talk.repeated for talk in held)
    check(
        "w1 is killed: its four conversations go on at once, elsewhere",
        len(lost) == 4 and all(reply.status_code == 200 for reply in replies),
        f"calls asked twice: {again}",
    )
    check("they stay there", all(len(set(after[name])) == 1 for name in lost))
    check(
        "the others stay where they were",
        all(set(at) == before[name] for name, at in after.items() if name not in lost),
    )


def closed(stage: Stage, held: list[Talk], url: str) -> None:
    """Two conversations say that this is their last call."""
    before = sum(live(url).values())
    finals = ("x-callerid-session-final", "x-dynamo-session-final")
    for talk, header in zip(held, finals, strict=False):
        talk.say(url, "talk Thank you, that is all.", {header: "true"})
    after = sum(live(url).values())
    stage.report.check(
        "a last call is answered and closes its session",
        after == before - 2 and all(talk.heard[-1].status_code == 200 for talk in held[:2]),
    )


def blocked(stage: Stage, url: str) -> None:
    """One session makes more calls a minute than its budget has."""
    with talks(["busy"]) as (talk,):
        for _ in range(CALLS_A_MINUTE + 1):
            talk.say(url)
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
    with stage.proxy("hard", fleet) as url, talks(["one", "two", "three", "new"]) as held:
        one, two, three, new = held
        for talk in (one, two, three):  # they go to w2, w3, w2
            talk.say(url)
        three.say(url, "three-2 Thank you, that is all.", {"x-dynamo-session-final": "true"})
        after = three.say(url, "three-3 One more thing.")
        check(
            "hard: a call after the last one is answered 410",
            after.status_code == 410 and "declared final" in after.text,
        )
        fleet[0].kill()
        lost = one.say(url)
        check(
            "hard: w2 is killed, and its session is told to begin anew: 410",
            lost.status_code == 410 and "begin a new session" in lost.text,
        )
        stay, begun = two.say(url), new.say(url)
        check(
            "hard: the session of w3 goes on, and a new one is served there",
            (stay.status_code, begun.status_code) == (200, 200),
        )


def agree(stage: Stage, found: Share) -> None:
    """What /metrics counted, what the workers said, and what is on record."""
    counted: Counter[str] = Counter()
    cached = 0
    for mode in ("soft", "hard"):
        database = traces.open_database(stage.traces(mode))
        for row in database.query("select state, count(*) as n from calls group by state"):
            counted[row["state"]] += row["n"]
        if mode == "soft":
            first = f"select * from calls order by started_at limit {TALKS * TURNS}"
            query = f"select sum(cache_read_input_tokens) as cached from ({first})"
            (row,) = database.query(query)
            cached = row["cached"]
        database.conn.close()
    said = ", ".join(f"{n} {state}" for state, n in sorted(counted.items()))
    stage.report.check(
        "/metrics agrees with select count(*) in traces.db", stage.metered == counted, said
    )
    stage.report.check(
        "the tokens from cache on record are those that the workers said", cached == found.cached
    )


def play(folder: Path, console: Console) -> int:
    """All of it; how much was wrong."""
    report = Report(console)
    names = [f"talk{number}" for number in range(TALKS)]
    with ExitStack() as stack:
        fleet = stack.enter_context(workers(3))
        plain = without(fleet)
        stage = Stage(fleet, folder, report)
        held = stack.enter_context(talks(names))
        with stage.proxy("soft", fleet) as url:
            through = load(stage, held, url)
        with stage.proxy("soft", fleet) as url:
            restarted(stage, held, url)
            helper(stage, url)
            killed(stage, held, url)
            closed(stage, held, url)
            blocked(stage, url)
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
    parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    began = time.monotonic()
    console.print(
        f"Three workers, each with a prefix cache of {CACHE_TOKENS:,} tokens in blocks of {BLOCK}; "
        f"{TALKS} conversations without\nids, {TURNS} turns each, interleaved; one real mitmdump:",
        soft_wrap=True,
    )
    with tempfile.TemporaryDirectory(prefix="callerid-fleet-") as folder:
        wrong = play(Path(folder), console)
    took = time.monotonic() - began
    console.print(f"{wrong} wrong" if wrong else f"All right ({took:.1f} s).")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
