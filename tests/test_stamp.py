"""Stamping: which headers are set and taken away, by the shipped tables and by others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from callerid import stamp
from callerid.settings.load import load
from callerid.settings.tables import ProfileTable
from callerid.stamp import Edit, Stamper
from callerid.turn import Because, HeaderList, Identity, Kind

SHIPPED = load()
PUBLIC = [
    (row.name, pattern.replace("*", "somewhere"))
    for row in SHIPPED.providers.providers
    for pattern in row.hosts
]
ROOT = Identity("sess_1", "agent_1", "sess_1", Because.NEW, 0.5, "an opening")
CHILD = Identity("sess_2", "agent_2", "sess_1", Because.HEADER, 1, "x", parent_session_id="sess_1")


def stamper(sets: bool = True) -> Stamper:
    return Stamper(SHIPPED.providers, SHIPPED.profiles, sets=sets)


def custom(profile: dict[str, Any], *upstreams: dict[str, Any]) -> Stamper:
    """A stamper with one profile of our own."""
    table = {
        "profiles": {"mine": {"source": "test", **profile}},
        "upstreams": upstreams or [{"hosts": ["*"], "profile": "mine"}],
    }
    return Stamper(SHIPPED.providers, msgspec.convert(table, ProfileTable), sets=True)


# The shipped tables


@pytest.mark.parametrize(("name", "host"), PUBLIC, ids=[host for _, host in PUBLIC])
def test_a_public_provider_is_known_and_gets_nothing_of_ours(name: str, host: str) -> None:
    for written in (host, host.upper()):
        assert stamper().upstream(written).provider == name
        assert stamper().sets(CHILD, (), written) == []


def test_a_dot_at_the_end_of_a_host_makes_no_other_host() -> None:
    assert stamper().upstream("api.openai.com.").provider == "openai"
    assert stamper().sets(CHILD, (), "api.openai.com.") == []


INTERNAL = (
    "x-callerid-session-id",
    "X-CallerID-Agent-Id",
    "x-dynamo-session-id",
    "X-Cylestio-Session-Id",
    "x-cagent-forward",
)


@pytest.mark.parametrize("name", INTERNAL)
def test_internal_headers_stop_before_a_public_provider(name: str) -> None:
    headers = [("accept", "*/*"), (name, "v"), ("x-session-id", "s")]

    assert stamper().strips(headers, "api.openai.com") == [Edit(name, None)]
    assert stamper(sets=False).strips(headers, "api.openai.com") == [Edit(name, None)]
    assert stamper().strips(headers, "llm.example") == []


@pytest.mark.parametrize("host", ["llm.example", "10.0.0.5", "localhost", "notapi.openai.com.evil"])
def test_other_hosts_get_the_session_before_the_parent(host: str) -> None:
    assert stamper().upstream(host).provider == ""
    assert stamper().sets(CHILD, (), host) == [
        Edit("x-callerid-session-id", "sess_2"),
        Edit("x-callerid-agent-id", "agent_2"),
        Edit("x-callerid-parent-session-id", "sess_1"),
    ]


def test_what_a_call_does_not_have_is_not_sent() -> None:
    names = [edit.name for edit in stamper().sets(ROOT, (), "llm.example")]

    assert names == ["x-callerid-session-id", "x-callerid-agent-id"]


def test_what_the_client_said_itself_is_kept() -> None:
    headers = [("X-CallerID-Session-Id", "mine")]

    names = [edit.name for edit in stamper().sets(ROOT, headers, "llm.example")]

    assert names == ["x-callerid-agent-id"]


def test_nothing_is_set_where_stamping_is_switched_off() -> None:
    assert stamper(sets=False).sets(CHILD, (), "llm.example") == []


def test_hosts_that_somebody_invents_are_no_trouble() -> None:
    asked = stamper()

    for number in range(2_500):
        assert asked.upstream(f"host-{number}.example").provider == ""

    assert asked.upstream("api.openai.com").provider == "openai"


# Other tables

SET_SESSION = {"set": [{"header": "X-Session-Id", "part": "session"}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("session", "sess_2"),
        ("parent", "sess_1"),
        ("root", "sess_1"),
        ("agent", "agent_2"),
        ("kind", "main"),
    ],
)
def test_a_header_carries_the_part_that_its_rule_names(part: str, expected: str) -> None:
    profile = {"set": [{"header": "x-h", "part": part}]}

    assert custom(profile).sets(CHILD, (), "llm.example") == [Edit("x-h", expected)]


@pytest.mark.parametrize(("override", "expected"), [(False, []), (True, ["sess_1"])])
def test_only_a_profile_that_overrides_writes_over_the_client(
    override: bool, expected: list[str]
) -> None:
    headers: HeaderList = (("x-session-id", "mine"),)

    edits = custom(SET_SESSION | {"override": override}).sets(ROOT, headers, "llm.example")

    assert [edit.value for edit in edits] == expected


def test_what_is_taken_away_is_no_reason_not_to_set_it() -> None:
    mine = custom(SET_SESSION | {"strip": ["x-session-*"]})
    headers: HeaderList = (("X-Session-ID", "theirs"),)

    assert mine.strips(headers, "llm.example") == [Edit("X-Session-ID", None)]
    assert mine.sets(ROOT, headers, "llm.example") == [Edit("X-Session-Id", "sess_1")]


@pytest.mark.parametrize(
    ("row", "host", "fits"),
    [
        ({"hosts": ["*.example"]}, "llm.example", True),
        ({"hosts": ["*.example"]}, "LLM.Example", True),
        ({"hosts": ["*.example"]}, "llm.example.org", False),
        ({"hosts": ["a", "b"]}, "b", True),
        ({"provider": "openai"}, "api.openai.com", True),
        ({"provider": "openai"}, "api.anthropic.com", False),
        ({"provider": "openai"}, "llm.example", False),
        ({"provider": "any"}, "api.anthropic.com", True),
        ({"provider": "any"}, "llm.example", False),
        ({"provider": "openai", "hosts": ["eu.*"]}, "eu.api.openai.com", True),
        ({"provider": "openai", "hosts": ["eu.*"]}, "api.openai.com", False),
        ({}, "llm.example", True),
    ],
)
def test_a_row_fits_where_all_that_it_names_fits(
    row: dict[str, Any], host: str, fits: bool
) -> None:
    edits = custom(SET_SESSION, {**row, "profile": "mine"}).sets(ROOT, (), host)

    assert bool(edits) is fits


def test_the_first_row_that_fits_decides() -> None:
    rows = {
        "profiles": {"a": {"source": "t", **SET_SESSION}, "b": {"source": "t"}},
        "upstreams": [{"hosts": ["x"], "profile": "b"}, {"hosts": ["*"], "profile": "a"}],
    }
    both = Stamper(SHIPPED.providers, msgspec.convert(rows, ProfileTable), sets=True)

    assert both.sets(ROOT, (), "x") == []
    assert both.sets(ROOT, (), "y") != []


def test_a_host_that_no_row_fits_is_left_alone() -> None:
    nothing = custom({"strip": ["*"]}, {"hosts": ["a"], "profile": "mine"})

    assert nothing.strips([("x-callerid-session-id", "s")], "b") == []
    assert nothing.sets(ROOT, (), "b") == []


# What goes back


def test_the_client_is_told_how_its_call_was_identified() -> None:
    assert stamp.returned(CHILD) == [
        Edit("x-callerid-session-id", "sess_2"),
        Edit("x-callerid-agent-id", "agent_2"),
        Edit("x-callerid-parent-session-id", "sess_1"),
        Edit("x-callerid-because", "header"),
    ]
    assert "x-callerid-parent-session-id" not in [edit.name for edit in stamp.returned(ROOT)]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_word(kind: Kind) -> None:
    identity = msgspec.structs.replace(ROOT, kind=kind)

    assert stamp.part(identity, "kind") == kind.value
