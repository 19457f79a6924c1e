"""callerid beside other gateways that track sessions: the same calls through each, turn about.

Each has a virtual environment of its own, made here; the table says so where it cannot be. They
stand before the same provider as callerid does, in reverse mode, with tracking of sessions on;
"direct" is the provider alone. Whether a conversation was taken for one session is read from what
each says of its calls: callerid in a header of the reply, the others in their logs.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.table import Table

from lab.canned import CannedProvider
from lab.compliance.install import CannotInstall
from lab.consumers.consumer import LITELLM, Consumer
from lab.consumers.install import install
from lab.consumers.server import Server, free_port
from lab.duel import ADDON, QUIET
from lab.family import family, resident_bytes
from lab.load import KEY, Connection, Side, percentiles
from lab.longtalks import Shape
from lab.proxy import Proxy

CYLESTIO = Consumer(
    name="cylestio-perimeter",
    version="2.4.1",
    packages=("cylestio-perimeter==2.4.1",),
    alone=(),
    logs=frozenset(("session",)),
)
SHAPE = Shape("20 KB", 20_000, turns=10, growth=1_500)
CONNECTIONS = 4
HELD = 20  # conversations, for accuracy: two at a time, and each of their calls after the other's
_LOGGER = Path(__file__).with_name("peers_logger.py")
_SESSION = re.compile(r"Session detected: id=([^,\s]+)")
_LATER_SECONDS = 3.0  # logs are written behind the calls


class Peer(NamedTuple):
    """A gateway under load; `sessions` are those that it named of its last calls, in their order.

    None: it names none in a log, but perhaps in its replies. `pid` 0: there is none.
    """

    name: str
    port: int
    pid: int = 0
    sessions: Callable[[int], list[str]] | None = None


class Row(NamedTuple):
    """What was measured of one; times in milliseconds. `right` of HELD conversations were one."""

    peer: Peer
    rate: float
    whole: tuple[float, float]
    first: tuple[float, float]
    megabytes: float
    right: int


async def measure(seconds: float, rounds: int) -> tuple[list[Row], list[str]]:
    """Measure all that can be installed; and why the others cannot. Raises Wrong."""
    missing: list[str] = []
    with ExitStack() as stack:
        provider = stack.enter_context(CannedProvider())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lab-peers-")))
        peers = [Peer("direct", provider.port), stack.enter_context(_callerid(provider.port))]
        for consumer, started in ((CYLESTIO, _cylestio), (LITELLM, _litellm)):
            try:
                programs = install(consumer)
            except CannotInstall as error:
                missing.append(str(error))
                continue
            own = folder / consumer.name
            own.mkdir()
            peers.append(stack.enter_context(started(programs, own, provider.port)))
        right = [await _right(peer) for peer in peers]
        whole = await _turn_about(peers, CONNECTIONS, seconds, rounds, streams=False)
        streamed = await _turn_about(peers, 1, seconds, rounds, streams=True)
        rows = [
            Row(peer, side.rate, _ms(side, "last"), _ms(stream, "first"), _megabytes(peer), found)
            for peer, side, stream, found in zip(peers, whole, streamed, right, strict=True)
        ]
    return rows, missing


def table(rows: list[Row]) -> Table:
    """The rows as they are printed; what each adds is over the provider alone."""
    direct, *others = rows
    table = Table(
        title=f"Gateways that track sessions: bodies of {SHAPE.name}, {CONNECTIONS} connections",
        title_justify="left",
    )
    for name in (
        "", "requests/s", "added ms\np50", "\np99", "added to first byte,\nms p50", "\np99",
        "memory\nMB", "conversations\nfound",
    ):  # fmt: skip
        table.add_column(name, justify="right" if name else "left")
    for row in others:
        added = (
            f"{one - other:+.2f}"
            for mine, bare in ((row.whole, direct.whole), (row.first, direct.first))
            for one, other in zip(mine, bare, strict=True)
        )
        found = f"{row.right} of {HELD}"
        table.add_row(row.peer.name, f"{row.rate:,.0f}", *added, f"{row.megabytes:,.0f}", found)
    return table


class _Direct(Connection):
    """A connection to a server that stands in the provider's place: it takes paths, no URLs."""

    def __init__(self, port: int, *, streams: bool) -> None:
        super().__init__(port, port, SHAPE, streams=streams)
        self._target = b"/v1/messages"


async def _turn_about(
    peers: list[Peer], connections: int, seconds: float, rounds: int, *, streams: bool
) -> list[Side]:
    sides = [
        Side([_Direct(peer.port, streams=streams) for _ in range(connections)]) for peer in peers
    ]
    for _ in range(rounds):
        for side in sides:
            await side.open()  # anew each time: some servers close what was silent for five seconds
            await side.measure(seconds / rounds)
            await side.close()
    return sides


async def _right(peer: Peer) -> int:
    """Of how many conversations each was taken for one session, and that for no other."""
    pair = [_Direct(peer.port, streams=False) for _ in range(2)]
    talks: list[str] = []
    for connection in pair:
        await connection.open()
    for _ in range(HELD // 2 * SHAPE.turns):
        for connection in pair:
            call = connection.next()
            await connection.ask(call)
            talks.append(call.turn.partition("-")[0])
    for connection in pair:
        await connection.close()
    if peer.sessions is None:
        named = [said for connection in pair for said in connection.sessions]
    else:
        sessions = peer.sessions(len(talks))
        named = [(talk, id.encode()) for talk, id in zip(talks, sessions, strict=False)]
    of_talks, of_sessions = defaultdict(set), defaultdict(set)
    for talk, session in named:
        of_talks[talk].add(session)
        of_sessions[session].add(talk)
    alone = {session for session, found in of_sessions.items() if session and len(found) == 1}
    return sum(len(found) == 1 and found <= alone for found in of_talks.values())


def _ms(side: Side, end: str) -> tuple[float, float]:
    return percentiles([getattr(took, end) * 1000 for took in side.took])


def _megabytes(peer: Peer) -> float:
    """What a gateway holds in memory, with the processes that it has started."""
    return sum(map(resident_bytes, family(peer.pid))) / 1e6 if peer.pid else 0.0


@contextmanager
def _callerid(provider_port: int) -> Iterator[Peer]:
    mode = f"reverse:http://127.0.0.1:{provider_port}"
    with Proxy(ADDON, mode=mode, options=QUIET) as proxy:
        yield Peer("callerid", proxy.port, proxy.pid)


@contextmanager
def _cylestio(programs: Path, folder: Path, provider_port: int) -> Iterator[Peer]:
    port, log = free_port(), folder / "log"
    command = [
        str(programs / "cylestio-perimeter"), "run", "--type", "anthropic", "--port", str(port),
        "--base-url", f"http://127.0.0.1:{provider_port}",
    ]  # fmt: skip

    def sessions(calls: int) -> list[str]:
        time.sleep(_LATER_SECONDS)
        return _SESSION.findall(log.read_text(errors="replace"))[-calls:]

    with Server(command, {"ANTHROPIC_API_KEY": KEY}, log) as server:
        server.wait_for(f"http://127.0.0.1:{port}/metrics", "llm-proxy")
        yield Peer(f"Cylestio Perimeter {CYLESTIO.version}", port, server.pid, sessions)


@contextmanager
def _litellm(programs: Path, folder: Path, provider_port: int) -> Iterator[Peer]:
    port, log = free_port(), folder / "sessions.jsonl"
    upstream = {
        "model": "anthropic/claude-bench",
        "api_base": f"http://127.0.0.1:{provider_port}",
        "api_key": KEY,
        "extra_headers": {},
    }
    config = {
        "model_list": [{"model_name": "claude-bench", "litellm_params": upstream}],
        "litellm_settings": {"callbacks": f"{_LOGGER.stem}.logger"},
        "general_settings": {"forward_client_headers_to_llm_api": True},
    }
    shutil.copy(_LOGGER, folder)
    (folder / "config.yaml").write_text(json.dumps(config))
    command = [str(programs / "litellm"), "--config", str(folder / "config.yaml"),
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    env = {
        "PEERS_LOG": str(log),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # it listens to us alone
    }

    def sessions(calls: int) -> list[str]:
        time.sleep(_LATER_SECONDS)
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line)["session"] for line in lines][-calls:]

    with Server(command, env, folder / "log") as server:
        server.wait_for(f"http://127.0.0.1:{port}/health/liveliness", "alive")
        yield Peer(f"LiteLLM {LITELLM.version}", port, server.pid, sessions)
