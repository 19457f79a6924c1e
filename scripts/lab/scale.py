"""What sharing costs: one proxy alone and one that shares, side by side under the same load."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mitmproxy.version

from lab.canned import CannedProvider
from lab.duel import ADDON, QUIET
from lab.load import Connection, Side, Wrong, percentiles
from lab.longtalks import Shape
from lab.proxy import Proxy
from lab.servers import Missing, PostgresServer, RedisServer

ROUNDS = 6
SHAPES = (Shape("2 KB", 2_000, turns=4, growth=500), Shape("100 KB", 100_000, 20, 2_000))


@dataclass
class Contest:
    """A proxy alone and others that share, all before one provider."""

    provider: CannedProvider
    proxies: dict[str, Proxy]
    redis: RedisServer

    async def run(self, shape: Shape, connections: int, seconds: float) -> dict[str, Side]:
        """Measure all under one load, turn about; raises Wrong."""
        sides = {
            name: Side([Connection(proxy.port, self.provider.port, shape, streams=False)
                        for _ in range(connections)])
            for name, proxy in self.proxies.items()
        }  # fmt: skip
        for side in sides.values():
            await side.open()
        for at in range(ROUNDS):
            order = list(sides.values())
            for side in order[at % len(order) :] + order[: at % len(order)]:
                await side.measure(seconds / ROUNDS)
        for side in sides.values():
            await side.close()
        return sides

    def redis_seconds(self) -> float:
        """The processor time that Redis has spent."""
        from redis import Redis

        with Redis.from_url(self.redis.url) as client:
            found = client.info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def redis_bytes(self) -> int:
        """The memory that Redis uses."""
        from redis import Redis

        with Redis.from_url(self.redis.url) as client:
            return int(client.info("memory")["used_memory"])


@contextmanager
def contest() -> Iterator[Contest]:
    """All that is measured, while the `with` block lasts; raises Missing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-scale-")))
        provider = stack.enter_context(CannedProvider())
        redis = stack.enter_context(RedisServer())
        places = {
            "alone": {},
            "redis": {"backend": "redis", "connection": redis.url},
            "file": {"backend": "file", "connection": str(folder / "shared.db")},
            "postgres": {
                "backend": "postgres", "connection": stack.enter_context(PostgresServer()).url,
            },
        }  # fmt: skip
        proxies = {}
        for name, kept in places.items():
            settings = folder / f"{name}.yaml"
            said = {"session": {"persistence": {**kept, "deadline_seconds": 1}}} if kept else {}
            settings.write_text(json.dumps(said | {"admin": {"enabled": False}}))
            options = QUIET | {"callerid_config": str(settings)}
            proxies[name] = stack.enter_context(Proxy(ADDON, options=options))
        yield Contest(provider, proxies, redis)


async def measure(at: Contest, seconds: float) -> None:
    print(
        "| body | connections | | requests/s | of alone | p50 ms | p99 ms | p50 added | p99 added |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for connections in (1, 8):
            spent, size = at.redis_seconds(), at.redis_bytes()
            sides = await at.run(shape, connections, seconds)
            alone = sides["alone"]
            middle, late = percentiles([each.last for each in alone.took])
            for name, side in sides.items():
                p50, p99 = percentiles([each.last for each in side.took])
                print(
                    f"| {shape.name} | {connections} | {name} | {side.rate:,.0f} | "
                    f"{side.rate / alone.rate:.2f} | {p50 * 1e3:.2f} | {p99 * 1e3:.2f} | "
                    f"{(p50 - middle) * 1e3:.2f} | {(p99 - late) * 1e3:.2f} |",
                    flush=True,
                )
            calls = sum(one.calls for one in sides["redis"].connections)
            each = (at.redis_seconds() - spent) / calls * 1e6
            grown = (at.redis_bytes() - size) / calls
            print(f"redis: {calls:,} calls, {each:.0f} µs and {grown:,.0f} bytes of it each")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --sharing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="for each load and proxy")
    asked = parser.parse_args()
    versions = f"Python {platform.python_version()}, mitmproxy {mitmproxy.version.VERSION}"
    print(f"{versions}, {platform.machine()}")
    try:
        with contest() as at:
            asyncio.run(measure(at, asked.seconds))
    except (Wrong, Missing) as error:
        print(f"scripts/bench --sharing: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
