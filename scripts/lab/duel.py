"""Two proxies under the same load, turn about: what disturbs the machine disturbs both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lab.canned import CannedProvider
from lab.ledger import Ledger
from lab.load import Connection, Side, Wrong
from lab.longtalks import Shape
from lab.proxy import Proxy

ADDON = Path(__file__).parents[2] / "addon" / "main.py"
STREAMS = Path(__file__).with_name("streams.py")
QUIET = {"flow_detail": "0"}  # or mitmdump prints each call, and that would be measured too


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
    bare: Proxy
    streaming: Proxy
    ours: Proxy
    ledger: Ledger
    seconds: float
    rounds: int

    async def fight(self, shape: Shape, connections: int, *, streams: bool = False) -> Pair:
        """Measure both under one load; raises Wrong."""
        pair = Pair(*(
            Side([Connection(proxy.port, self.provider.port, shape, streams=streams)
                  for _ in range(connections)])
            for proxy in (self.streaming if streams else self.bare, self.ours)
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
        return pair

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
        proxies = Proxy(options=QUIET), Proxy(STREAMS, options=QUIET), Proxy(ADDON, options=QUIET)
        try:
            bare, streaming, ours = map(stack.enter_context, proxies)
        except RuntimeError as error:
            raise Wrong(f"a proxy did not start: {' '.join(str(error).split())}") from None
        yield Duel(provider, bare, streaming, ours, Ledger(ours.traces), seconds, rounds)
