"""Calls become rows of Dynamo's request trace, which its own replay takes."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from callerid.commands.cli import cli
from callerid.exports.dynamo import BLOCK, KNOWN, Blocks
from lab.consumers.consumer import DYNAMO
from lab.consumers.install import programs
from make import QUICK
from office import anthropic_reply, office, text
from recorded import record

REPLAY = Path(__file__).parents[1] / "scripts" / "lab" / "consumers" / "dynamo_replay.py"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dynamo") / "traces.db"
    record(path)
    return path


def exported(path: Path, *words: str) -> Path:
    output = path.with_name("trace.jsonl")
    command = ["export", "--format", "dynamo", "-o", str(output), "--db", str(path), *words]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    return output


def rows(path: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(path, *words).read_text().splitlines()]


def long_talk(path: Path, turns: int) -> None:
    """A session whose prompt grows by a hundred tokens with each turn, and its fork."""
    with office(path) as at:
        said: list[Any] = []
        for turn in range(turns):
            said.append({"role": "user", "content": f"Question {turn}: " + "how deep? " * 20})
            reply = anthropic_reply(text(f"Answer {turn}"), tokens=(1000 + 100 * turn, 20))
            at.call("/v1/messages", {"model": "m", "system": "Be brief.", "messages": said}, reply)
            said.append({"role": "assistant", "content": f"Answer {turn}"})


# Rows


def test_a_row_has_the_fields_of_the_schema(path: Path) -> None:
    first, helper, second, *_ = rows(path)

    assert first["timestamp"] == 0
    assert second["timestamp"] == 4000
    assert first["event"]["schema"] == "dynamo.request.trace.v1"
    assert first["event"]["event_type"] == "request_end"
    session = first["event"]["agent_context"]["session_id"]
    assert first["event"]["agent_context"] == {"session_id": session}
    assert helper["event"]["agent_context"]["parent_session_id"] == session
    request = second["event"]["request"]
    assert (request["input_tokens"], request["output_tokens"], request["cached_tokens"]) == (
        190, 20, 90,
    )  # fmt: skip
    assert request["total_time_ms"] == 1000.0
    assert request["replay"]["input_length"] == 190
    assert request["replay"]["trace_block_size"] == BLOCK


def test_what_was_not_answered_has_no_row(path: Path) -> None:
    assert len(rows(path)) == 7


def test_a_parent_that_has_no_row_is_not_named(path: Path) -> None:
    helper = rows(path)[1]["event"]["agent_context"]["session_id"]

    (row,) = rows(path, "--session", helper)

    assert row["event"]["agent_context"] == {"session_id": helper}


# Blocks


def test_a_prompt_that_grows_keeps_its_blocks(tmp_path: Path) -> None:
    long_talk(tmp_path / "traces.db", 5)
    hashes = [
        row["event"]["request"]["replay"]["input_sequence_hashes"]
        for row in rows(tmp_path / "traces.db")
    ]

    for before, after in pairwise(hashes):
        assert after[: len(before) - 1] == before[:-1]
        assert len(after) > len(before)


@QUICK
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 500)), max_size=12),
    st.integers(0, 12),
    st.integers(0, 3000),
    st.integers(0, 3000),
)
def test_prompts_share_the_blocks_of_what_they_share_and_no_more(
    pieces: list[tuple[bytes, int]], cut: int, tokens: int, others: int
) -> None:
    def chained(found: list[tuple[bytes, int]]) -> tuple[list[bytes], list[int]]:
        names = [b"/".join(name for name, _ in found[: at + 1]) for at in range(len(found))]
        return names, [size for _, size in found]

    blocks = Blocks()
    one = blocks.lay(*chained(pieces), tokens)
    again = blocks.lay(*chained(pieces), tokens)
    fork = blocks.lay(*chained([*pieces[:cut], (b"other", 50)]), others)

    assert again == one
    assert len(one) == ceil(tokens / BLOCK)
    assert len(fork) == ceil(others / BLOCK)
    assert all(0 <= hash < 2**64 for hash in [*one, *fork])
    shared = next((at for at, (a, b) in enumerate(zip(one, fork, strict=False)) if a != b), None)
    if shared is not None:  # once they have parted they do not meet again
        assert not set(one[shared:]) & set(fork[shared:])


def test_what_is_known_of_prompts_is_bounded() -> None:
    blocks = Blocks()
    for number in range(KNOWN + 10):
        blocks.lay([number.to_bytes(4)], [10], 10)

    assert len(blocks._places) == KNOWN


# Dynamo's own replay


@pytest.mark.parametrize("talk", ["mixed", "long"])
def test_dynamos_own_replay_takes_the_rows(path: Path, tmp_path: Path, talk: str) -> None:
    found = programs(DYNAMO)
    if found is None:
        pytest.skip("ai-dynamo is not installed; scripts/compliance --consumers installs it")
    if talk == "long":
        path = tmp_path / "traces.db"
        long_talk(path, 8)
    trace = exported(path)
    command = [found / "python", "-I", REPLAY, trace]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"HOME": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout.splitlines()[-1])
    events = [json.loads(line)["event"] for line in trace.read_text().splitlines()]
    assert {(one["id"], one["session"]) for one in replayed["requests"]} == {
        (event["request"]["request_id"], event["agent_context"]["session_id"]) for event in events
    }
    summary = replayed["summary"]
    assert summary["completed_requests"] == len(events)
    assert summary["total_input_tokens"] == sum(e["request"]["input_tokens"] for e in events)
    if talk == "long":
        assert summary["prefix_cache_reused_ratio"] > 0.7
