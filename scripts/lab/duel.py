"""Two proxies under the same load, turn about: what disturbs the machine disturbs both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lab.canned import CannedProvider
from lab.certificates import certificates
from lab.heartbeat import FILE
from lab.http2 import Http2Connection
from lab.ledger import Ledger
from lab.load import Connection, Side, Wrong
from lab.longtalks import Shape
from lab.proxy import Proxy

ADDON = Path(__file__).parents[2] / "addon" / "main.py"
HEARTBEAT = Path(__file__).with_name("heartbeat.py")
STREAMS = Path(__file__).with_name("streams.py")
QUIET = {"flow_detail": "0"}  # or mitmdump prints each call, and that would be measured too


class Stalls(NamedTuple):
    """The longest time that each loop stood still under a load, in seconds."""

    bare: float
    ours: float


class Pair(NamedTuple):
    """Both under one load."""

    bare: Side
    ours: Side


@dataclass(frozen=True, slots=True)
class Duel:
    """mitmproxy bare and with callerid; `streaming` is bare, but lets event streams pass.

    Each is measured for so many `seconds` a load, in so many `rounds`.
    """

    provider: CannedProvider
    provider_in_tls: CannedProvider
    bare: Proxy
    streaming: Proxy
    ours: Proxy
    ledger: Ledger
    seconds: float
    rounds: int
    longest: list[Stalls] = field(default_factory=list)  # one a fight

    async def fight(
        self, shape: Shape, connections: int, *, streams: bool = False, http2: bool = False
    ) -> Pair:
        """Measure both under one load; raises Wrong."""
        proxies = self.streaming if streams else self.bare, self.ours
        pair = Pair(*(
            Side([self._connection(proxy, shape, streams=streams, http2=http2)
                  for _ in range(connections)])
            for proxy in proxies
        ))  # fmt: skip
        self.ledger.sides.append(pair.ours)
        for side in pair:
            await side.open()
        for at in range(self.rounds):
            for side in reversed(pair) if at % 2 else pair:
                self.ledger.settle()  # nobody writes while the other is measured
                await side.measure(self.seconds / self.rounds)
        for side in pair:
            await side.close()
        self.longest.append(Stalls(*map(_longest, proxies, pair)))
        return pair

    def _connection(self, proxy: Proxy, shape: Shape, *, streams: bool, http2: bool) -> Connection:
        if not http2:
            return Connection(proxy.port, self.provider.port, shape, streams=streams)
        port, ca = self.provider_in_tls.port, proxy.ca_file
        return Http2Connection(proxy.port, port, shape, streams=streams, ca=ca)

    def verdict(self) -> str:
        """Whether callerid recorded and recognised all of it, in words; raises Wrong."""
        self.ledger.settle()
        self.ours.stop()
        return self.ledger.verdict(self.ours.log)


@contextmanager
def duel(seconds: float, rounds: int) -> Iterator[Duel]:
    """A duel with its provider and proxies, while the `with` block lasts."""
    with ExitStack() as stack:
        provider = stack.enter_context(CannedProvider())
        in_tls = stack.enter_context(CannedProvider(certificates()))
        proxies = [
            Proxy(script, options=QUIET, beside=HEARTBEAT) for script in (None, STREAMS, ADDON)
        ]
        try:
            bare, streaming, ours = map(stack.enter_context, proxies)
        except RuntimeError as error:
            raise Wrong(f"a proxy did not start: {' '.join(str(error).split())}") from None
        yield Duel(provider, in_tls, bare, streaming, ours, Ledger(ours.traces), seconds, rounds)


def _longest(proxy: Proxy, side: Side) -> float:
    """The longest time, in seconds, that a proxy's loop stood still while a side was measured."""
    lines = (line.split() for line in (proxy.confdir / FILE).read_text().splitlines())
    stalls = [(float(when), float(late)) for when, late in lines]
    return max(
        (late for when, late in stalls for start, end in side.windows if start < when - late < end),
        default=0.0,
    )
