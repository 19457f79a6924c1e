"""All recorded calls through switchboards that share a Redis, held against one: who differs.

Each call is taken by the next of four, its reply is heard at its time on record, and is told before
the next call comes. No proxy, no HTTP: `lab.together` does it with real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from callerid.dispatch.routes import Routes
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard, Turn
from callerid.recordings import calls, reidentify
from callerid.recordings.recorded import RecordedCall
from callerid.settings.load import load
from callerid.sharing.redis_engine import RedisEngine
from callerid.sharing.sharing import Sharing
from callerid.turn import Identity
from lab.servers import Missing, RedisServer

DEADLINE_SECONDS = 10.0  # it is asked who is right, not who is quick
COMPARED = ("agent_id", "because", "relation", "kind", "client_name", "confidence")


def by_one(found: list[RecordedCall]) -> dict[int, Identity]:
    """What one switchboard says of each call, by its place."""
    board = Switchboard(load(), reidentify.steady_ids())
    taken = (
        event
        for event in reidentify.replay(found, board, reidentify.corrected)
        if isinstance(event, reidentify.Taken)
    )
    said = ((at, each.turn) for at, each in enumerate(taken))
    return {at: turn.identity for at, turn in said if turn is not None and turn.identity}


class Many:
    """Switchboards that share, which take calls in turn."""

    def __init__(self, count: int, url: str, prefix: str) -> None:
        configuration, new_id = load(), reidentify.steady_ids()
        self.guard = Guard()
        self._now = 0.0
        self._waiting: list[tuple[float, int, RecordedCall, Turn]] = []
        self._boards = [Switchboard(configuration, new_id) for _ in range(count)]
        self._sharing = [
            Sharing(
                RedisEngine(url, prefix), board, Routes(configuration.settings.routing),
                self.guard, lambda: self._now, f"proxy-{at}", deadline=DEADLINE_SECONDS,
                keeps_words=True,
            )
            for at, board in enumerate(self._boards)
        ]  # fmt: skip

    async def say(self, found: list[RecordedCall]) -> dict[int, Identity]:
        """What they say of each call, by its place."""
        for one in self._sharing:
            await one.engine.open()
            one.has_joined = True
        said: dict[int, Identity] = {}
        for at, call in enumerate(found):
            while self._waiting and self._waiting[0][0] <= call.t:
                await self._answer()
            self._now, by = call.t, at % len(self._boards)
            read = self._boards[by].read(call.request)
            if read is None:
                continue
            turn = await self._sharing[by].identify(call.request, read, call.t)
            if turn.identity is not None:
                said[at] = turn.identity
            heapq.heappush(self._waiting, (call.t_response, at, call, turn))
        while self._waiting:
            await self._answer()
        for one in self._sharing:
            one.close()
        return said

    async def _answer(self) -> None:
        self._now, at, call, turn = heapq.heappop(self._waiting)
        by = at % len(self._boards)
        reidentify._answer(self._boards[by], call, turn)
        self._sharing[by].told(turn)
        while any(len(one.publisher) for one in self._sharing):
            await asyncio.sleep(0)


def agree(name: str, file: Path, count: int, url: str) -> int:
    """Print who differs, and how many are of another session."""
    lines = calls.read(file, lambda path: iter(()))
    found = sorted((line.call for line in lines if line.call is not None), key=lambda c: c.t)
    one, many, began = by_one(found), Many(count, url, f"{name}:"), time.monotonic()
    said = asyncio.run(many.say(found))
    old = {str(at): identity.session_id for at, identity in one.items()}
    new = {str(at): identity.session_id for at, identity in said.items()}
    moved = reidentify.changes(old, new)
    differ = Counter(
        field
        for at in one
        for field in COMPARED
        if at not in said or getattr(one[at], field) != getattr(said[at], field)
    )
    differ["parent"] = sum(
        bool(one[at].parent_session_id) != bool(said[at].parent_session_id) for at in one
    )
    print(
        f"{name}: {len(new):,} calls by {count}, {len(set(old.values())):,} sessions by one, "
        f"{len(set(new.values())):,} by all; of another session: {len(moved)}; other differences: "
        f"{dict(+differ)}; counted: {dict(many.guard.counts)} ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return len(moved)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/eval --agree", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--proxies", type=int, default=4)
    asked = parser.parse_args()
    corpus = asked.folder / "corpora/sessions.jsonl.xz"
    try:
        with RedisServer() as redis, tempfile.TemporaryDirectory() as folder:
            perturbed = Path(folder) / "perturbed.jsonl.gz"
            command = [sys.executable, str(asked.folder / "eval/perturb.py")]
            subprocess.run([*command, str(corpus), str(perturbed)], check=True, capture_output=True)
            files = {"corpus": corpus, "mutated": perturbed}
            wrong = [agree(name, file, asked.proxies, redis.url) for name, file in files.items()]
    except Missing as missing:
        print(f"scripts/eval --agree: {missing}", file=sys.stderr)
        return 1
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
