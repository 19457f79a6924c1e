"""Headers that may name sessions are noticed, named once, and never trusted."""

from __future__ import annotations

import pytest

from callerid.identity.candidates import MAX_RUNS, Candidates
from callerid.settings.load import load


@pytest.fixture
def candidates() -> Candidates:
    return Candidates(load().clients)


def look(candidates: Candidates, run: str, **headers: str) -> list[str]:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return candidates.look("agent", pairs, run)


def test_a_header_that_goes_with_the_run_is_named_once(candidates: Candidates) -> None:
    calls = [(run, f"chat-{run}") for run in "abc" for _ in range(3)]

    named = [look(candidates, run, X_Chat=value) for run, value in calls]

    assert [found for found in named if found] == [["x-chat"]]
    assert named[7] == ["x-chat"]  # the second call of the third run


def test_a_header_that_changes_within_a_run_is_none(candidates: Candidates) -> None:
    calls = [(run, f"{run}-{turn}") for run in "abcd" for turn in range(3)]

    assert not any(look(candidates, run, X_Turn=value) for run, value in calls)


def test_a_header_that_is_the_same_in_all_runs_is_none(candidates: Candidates) -> None:
    assert not any(look(candidates, run, X_Version="1.2.3") for run in "aabbccdd")


def test_runs_of_one_call_prove_nothing(candidates: Candidates) -> None:
    runs = [str(number) for number in range(MAX_RUNS * 2)]

    assert not any(look(candidates, run, X_Id=f"id-{run}") for run in runs)


def test_headers_that_the_table_knows_are_no_news(candidates: Candidates) -> None:
    calls = [(run, f"chat-{run}") for run in "abc" for _ in range(3)]

    assert not any(look(candidates, run, X_Session_Id=value) for run, value in calls)


def test_two_clients_with_the_same_header_are_looked_at_apart(candidates: Candidates) -> None:
    for run in "ab":
        assert not look(candidates, run, X_Chat=f"chat-{run}")
        assert not look(candidates, run, X_Chat=f"chat-{run}")

    assert not candidates.look("other", (("x-chat", "chat-c"),), "c")
    assert not candidates.look("other", (("x-chat", "chat-c"),), "c")
