"""Rows of Dynamo's request trace (dynamo.request.trace.v1), for its replay and for AIPerf.

lib/llm/src/request_trace/types.rs of ai-dynamo 1.6. Its replay wants of every request the session,
the tokens, and the hashes of the blocks of its prompt: two requests share as many of them as their
prompts begin with together. We have the providers' counts of tokens and no tokens, so blocks are
laid along the messages: what a request repeats of an earlier one keeps its blocks, what is new gets
new ones, as many as the count asks for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from callerid.archive import calls as archive
from callerid.archive.calls import CallFacts, Spoken
from callerid.turn import Call

SCHEMA = "dynamo.request.trace.v1"
BLOCK = 64  # tokens
KNOWN = 20_000  # places in prompts that later ones may go on from


def rows(database: Database, calls: Iterable[CallFacts]) -> Iterator[bytes]:
    """A row for each call that was answered and whose tokens are known, in a session.

    A parent is named where it has rows itself: the replay refuses others. Raises NotJSON and
    NotPacked where a record is broken.
    """
    reader = archive.reader()
    blocks = Blocks()
    told: set[str] = set()
    began: float | None = None
    for facts in calls:
        if not facts.session_id or not facts.input_tokens or facts.output_tokens is None:
            continue
        began = facts.started_at if began is None else began
        spoken = archive.spoken(database, facts, reader)
        told.add(facts.session_id)
        row = _row(facts, blocks.of(facts, spoken), told)
        envelope = {"timestamp": round((facts.started_at - began) * 1000), "event": row}
        yield msgspec.json.encode(envelope) + b"\n"


def _row(facts: CallFacts, hashes: list[int], told: set[str]) -> dict[str, object]:
    ended = facts.started_at if facts.ended_at is None else facts.ended_at
    context: dict[str, object] = {"session_id": facts.session_id}
    parent = facts.parent_session_id
    if parent and parent in told and parent != facts.session_id:
        context["parent_session_id"] = parent
    if facts.is_final:
        context["session_final"] = True
    return {
        "schema": SCHEMA,
        "event_type": "request_end",
        "event_time_unix_ms": round(ended * 1000),
        "event_source": "harness",
        "agent_context": context,
        "request": _request(facts, hashes, ended),
    }


def _request(facts: CallFacts, hashes: list[int], ended: float) -> dict[str, object]:
    request: dict[str, object] = {
        "request_id": facts.id,
        "model": facts.model or "unknown",
        "input_tokens": facts.input_tokens,
        "output_tokens": facts.output_tokens,
        "request_received_ms": round(facts.started_at * 1000),
        "total_time_ms": round((ended - facts.started_at) * 1000, 3),
        "replay": {
            "trace_block_size": BLOCK,
            "input_length": facts.input_tokens,
            "input_sequence_hashes": hashes,
        },
    }
    optional: dict[str, object] = {
        "x_request_id": facts.header("x-request-id") or None,
        "cached_tokens": facts.cache_read_input_tokens,
        "ttft_ms": (
            round((facts.first_byte_at - facts.started_at) * 1000, 3)
            if facts.first_byte_at is not None and facts.is_stream
            else None
        ),
    }
    return request | {name: value for name, value in optional.items() if value is not None}


class _Place(NamedTuple):
    """Up to where a prompt is known: after so many tokens, with the blocks of some prompt."""

    tokens: int
    hashes: tuple[int, ...]


class Blocks:
    """Gives prompts their blocks; of those seen lately, what they have in common is the same."""

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._places: OrderedDict[bytes, _Place] = OrderedDict()

    def of(self, facts: CallFacts, spoken: Spoken) -> list[int]:
        """The hashes of the blocks of a call's prompt, as many as its tokens take."""
        pieces = list(_pieces(facts, spoken.call))
        names = list(_chained(facts.model, pieces))
        return self.lay(names, [len(piece) for piece in pieces], facts.input_tokens or 0)

    def lay(self, names: list[bytes], sizes: list[int], tokens: int) -> list[int]:
        """The blocks along some pieces, each with a name that says all up to it, and its size."""
        known, start = self._known(names)
        at = min(start.tokens, tokens)
        hashes = list(start.hashes[: at // self._block])
        rest, left = sum(sizes[known:]), tokens - at
        ends: list[tuple[bytes, int]] = []
        done = 0
        for name, size in zip(names[known:], sizes[known:], strict=True):
            done += size
            ends.append((name, at + (left * done // rest if rest else left)))
        whole = ceil(tokens / self._block)
        covering = names[-1] if names else b""
        for number in range(len(hashes), whole):
            last = min((number + 1) * self._block, tokens)
            name = next((name for name, end in ends if end >= last), covering)
            before = hashes[-1] if hashes else 0
            hashes.append(_hash(before, number, name))
        found = tuple(hashes)
        for name, end in ends:
            self._remember(name, _Place(end, found))
        return hashes

    def _known(self, names: list[bytes]) -> tuple[int, _Place]:
        """How many of some pieces are known, and up to where."""
        for count in range(len(names), 0, -1):
            place = self._places.get(names[count - 1])
            if place is not None:
                self._places.move_to_end(names[count - 1])
                return count, place
        return 0, _Place(0, ())

    def _remember(self, name: bytes, place: _Place) -> None:
        self._places[name] = place
        if len(self._places) > KNOWN:
            self._places.popitem(last=False)


def _pieces(facts: CallFacts, call: Call | None) -> Iterator[bytes]:
    """What a prompt is made of, in the order in which providers lay it out."""
    if call is None:
        yield facts.id.encode()
        return
    if call.tools_raw:
        yield call.tools_raw
    if call.system_raw:
        yield call.system_raw
    for message in call.messages:
        yield message.raw


def _chained(model: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Names of pieces, each of which says all that was said up to there, to that model."""
    name = model.encode()
    for piece in pieces:
        name = blake2b(name + b"\0" + piece, digest_size=16).digest()
        yield name


def _hash(before: int, number: int, name: bytes) -> int:
    """An unsigned number of 64 bits, as Dynamo's sequence hashes are."""
    text = before.to_bytes(8) + number.to_bytes(8) + name
    return int.from_bytes(blake2b(text, digest_size=8).digest())
