"""Stamping: which headers are set and taken away, by the shipped tables and by others."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from callerid.settings.load import load
from callerid.settings.tables import ProfileTable, UpstreamRow
from callerid.stamp import parts
from callerid.stamp.stamper import Edit, Stamper, returned, with_members
from callerid.stamp.upstreams import Upstreams
from callerid.turn import Because, Client, HeaderList, Identity, Kind, Relation, Request

SHIPPED = load()
PUBLIC = [
    (row.name, pattern.replace("*", "somewhere"))
    for row in SHIPPED.providers.providers
    for pattern in row.hosts
]
ROOT = Identity("sess_1", "agent_1", "sess_1", Because.NEW, 0.5, "an opening")
CHILD = Identity(
    "sess_2", "agent_2", "sess_1", Because.HEADER, 1, "x", agent_name="clerk",
    parent_session_id="sess_1", relation=Relation.SUBAGENT, client_name="codex",
    path=("sess_1", "sess_2"),
)  # fmt: skip


def request(
    host: str = "llm.example",
    headers: HeaderList = (),
    body: bytes = b"{}",
    port: int = 443,
    path: str = "/v1/chat/completions",
    authority: str = "",
) -> Request:
    return Request("POST", "https", host, port, path, tuple(headers), body, Client(), authority)


def stamper(sets: bool = True) -> Stamper:
    return Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles), sets=sets)


def custom(
    profile: dict[str, Any], *upstreams: dict[str, Any], sends_final: bool = False
) -> Stamper:
    """A stamper with one profile of our own."""
    table = {
        "profiles": {"mine": {"source": "test", **profile}},
        "upstreams": upstreams or [{"hosts": ["*"], "profile": "mine"}],
    }
    profiles = msgspec.convert(table, ProfileTable)
    return Stamper(Upstreams(SHIPPED.providers, profiles), sets=True, sends_final=sends_final)


# The shipped tables


@pytest.mark.parametrize(("name", "host"), PUBLIC, ids=[host for _, host in PUBLIC])
def test_a_public_provider_is_known_and_gets_nothing_of_ours(name: str, host: str) -> None:
    for written in (host, host.upper()):
        assert stamper().upstreams.of(request(written)).provider == name
        assert stamper().sets(CHILD, request(written, ()), "call_1") == []


@pytest.mark.parametrize(
    "host",
    [
        "integrate.api.nvidia.com",
        "router.huggingface.co",
        "ai-gateway.vercel.sh",
        "gateway.ai.cloudflare.com",
        "api.writer.com",
        "bedrock-runtime-fips.us-east-1.amazonaws.com",
        "bedrock-mantle.us-east-1.api.aws",
        "vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com",
        "aiplatform.us.rep.googleapis.com",
        "mine.cognitiveservices.azure.com",
        "ark.cn-beijing.volces.com",
        "api.tokenfactory.us-central1.nebius.com",
        "eu-west-1.api.x.ai",
    ],
)
def test_regions_and_second_doors_of_providers_are_public(host: str) -> None:
    assert stamper().sets(CHILD, request(host), "call_1") == []
    assert stamper().strips(request(host, (("x-callerid-session-id", "s"),)))


def test_a_dot_at_the_end_of_a_host_makes_no_other_host() -> None:
    assert stamper().upstreams.of(request("api.openai.com.")).provider == "openai"
    assert stamper().sets(CHILD, request("api.openai.com.", ()), "call_1") == []


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("160.79.104.10", "api.anthropic.com"),  # transparent: only the client knows the name
        ("api.anthropic.com", "localhost"),
        ("api.anthropic.com", "api.anthropic.com:443"),
    ],
)
def test_a_public_provider_is_known_by_where_a_request_goes_or_what_it_names(
    host: str, authority: str
) -> None:
    row = UpstreamRow(profile="dynamo", hosts=("localhost",))
    ours = Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles, [row]), sets=True)
    sent = request(host, (("x-dynamo-session-id", "inside"),), authority=authority)

    assert ours.upstreams.of(sent).provider == "anthropic"
    assert ours.strips(sent) == [Edit("x-dynamo-session-id", None)]
    assert ours.sets(CHILD, sent, "call_1") == []


def test_a_host_of_the_operators_is_known_by_the_name_that_the_client_gives() -> None:
    row = UpstreamRow(profile="dynamo", hosts=("llm.inside",))
    ours = Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles, [row]), sets=True)

    edits = ours.sets(CHILD, request("10.0.0.5", authority="llm.inside"), "call_1")

    assert Edit("x-dynamo-session-id", "sess_2") in edits


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

    assert stamper().strips(request("api.openai.com", headers)) == [Edit(name, None)]
    assert stamper(sets=False).strips(request("api.openai.com", headers)) == [Edit(name, None)]
    assert stamper().strips(request(headers=headers)) == []


@pytest.mark.parametrize("host", ["llm.example", "10.0.0.5", "localhost", "notapi.openai.com.evil"])
def test_other_hosts_get_the_session_before_the_parent(host: str) -> None:
    assert stamper().upstreams.of(request(host)).provider == ""
    assert stamper().sets(CHILD, request(host, ()), "call_1") == [
        Edit("x-callerid-session-id", "sess_2"),
        Edit("x-callerid-agent-id", "agent_2"),
        Edit("x-callerid-parent-session-id", "sess_1"),
    ]


def test_what_a_call_does_not_have_is_not_sent() -> None:
    names = [edit.name for edit in stamper().sets(ROOT, request(), "call_1")]

    assert names == ["x-callerid-session-id", "x-callerid-agent-id"]


def test_what_the_client_said_itself_is_kept() -> None:
    headers = [("X-CallerID-Session-Id", "mine")]

    names = [edit.name for edit in stamper().sets(ROOT, request(headers=headers), "call_1")]

    assert names == ["x-callerid-agent-id"]


def test_nothing_is_set_where_stamping_is_switched_off() -> None:
    assert stamper(sets=False).sets(CHILD, request(), "call_1") == []


def test_hosts_that_somebody_invents_are_no_trouble() -> None:
    asked = stamper()

    for number in range(2_500):
        assert asked.upstreams.of(request(f"host-{number}.example")).provider == ""

    assert asked.upstreams.of(request("api.openai.com")).provider == "openai"


# Other tables

SET_SESSION = {"set": [{"header": "X-Session-Id", "part": "session"}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("session", "sess_2"),
        ("parent", "sess_1"),
        ("root", "sess_1"),
        ("child", "sess_2"),
        ("path", "/sess_1/sess_2"),
        ("agent", "agent_2"),
        ("agent_name", "clerk"),
        ("client", "codex"),
        ("name", "codex"),
        ("kind", "main"),
        ("is_subagent", "true"),
        ("baggage", "session.id=sess_1,gen_ai.conversation.id=sess_2"),
    ],
)
def test_a_header_carries_the_part_that_its_rule_names(part: str, expected: str) -> None:
    profile = {"set": [{"header": "x-h", "part": part}]}

    assert custom(profile).sets(CHILD, request(), "call_1") == [Edit("x-h", expected)]


@pytest.mark.parametrize(("override", "expected"), [(False, []), (True, ["sess_1"])])
def test_only_a_profile_that_overrides_writes_over_the_client(
    override: bool, expected: list[str]
) -> None:
    headers: HeaderList = (("x-session-id", "mine"),)

    edits = custom(SET_SESSION | {"override": override}).sets(
        ROOT, request(headers=headers), "call_1"
    )

    assert [edit.value for edit in edits] == expected


def test_what_is_taken_away_is_no_reason_not_to_set_it() -> None:
    mine = custom(SET_SESSION | {"strip": ["x-session-*"]})
    headers: HeaderList = (("X-Session-ID", "theirs"),)

    assert mine.strips(request(headers=headers)) == [Edit("X-Session-ID", None)]
    assert mine.sets(ROOT, request(headers=headers), "call_1") == [Edit("x-session-id", "sess_1")]


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
        ({"ports": [8000, 443]}, "llm.example", True),
        ({"ports": [8000]}, "llm.example", False),
        ({"paths": ["/v1/chat*"]}, "llm.example", True),
        ({"paths": ["/v1/messages"]}, "llm.example", False),
        ({"header": "Accept"}, "llm.example", True),
        ({"header": "X-Cagent-Forward"}, "llm.example", False),
        ({}, "llm.example", True),
    ],
)
def test_a_row_fits_where_all_that_it_names_fits(
    row: dict[str, Any], host: str, fits: bool
) -> None:
    edits = custom(SET_SESSION, {**row, "profile": "mine"}).sets(
        ROOT, request(host, (("accept", "*/*"),)), "call_1"
    )

    assert bool(edits) is fits


def test_the_first_row_that_fits_decides() -> None:
    rows = {
        "profiles": {"a": {"source": "t", **SET_SESSION}, "b": {"source": "t"}},
        "upstreams": [{"hosts": ["x"], "profile": "b"}, {"hosts": ["*"], "profile": "a"}],
    }
    profiles = msgspec.convert(rows, ProfileTable)
    both = Stamper(Upstreams(SHIPPED.providers, profiles), sets=True)

    assert both.sets(ROOT, request("x", ()), "call_1") == []
    assert both.sets(ROOT, request("y", ()), "call_1") != []


def test_a_host_that_no_row_fits_is_left_alone() -> None:
    nothing = custom({"strip": ["*"]}, {"hosts": ["a"], "profile": "mine"})

    assert nothing.strips(request("b", [("x-callerid-session-id", "s")])) == []
    assert nothing.sets(ROOT, request("b", ()), "call_1") == []


# What goes back


def test_the_client_is_told_how_its_call_was_identified() -> None:
    assert returned(CHILD) == [
        Edit("x-callerid-session-id", "sess_2"),
        Edit("x-callerid-agent-id", "agent_2"),
        Edit("x-callerid-parent-session-id", "sess_1"),
        Edit("x-callerid-because", "header"),
    ]
    assert "x-callerid-parent-session-id" not in [edit.name for edit in returned(ROOT)]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_word(kind: Kind) -> None:
    identity = msgspec.structs.replace(ROOT, kind=kind)

    assert parts.part("kind", identity, "") == kind.value


# What a header can carry


def test_every_part_that_a_profile_may_name_is_known() -> None:
    named = msgspec.json.schema(ProfileTable)["$defs"]["HeaderRule"]["properties"]["part"]["enum"]

    assert sorted(named) == sorted(parts.NAMES)


@pytest.mark.parametrize("part", parts.NAMES)
def test_a_part_that_a_call_does_not_have_is_empty(part: str) -> None:
    alone = Identity("s", "a", "s", Because.NEW, 0.5, "")
    empty = {"parent", "child", "final", "is_subagent", "agent_name", "client", "name"}

    assert bool(parts.part(part, alone, "call_1")) is (part not in empty)


@pytest.mark.parametrize("id", ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a\nb", "a\x7f"])
def test_an_id_that_a_header_cannot_carry_is_not_sent(id: str) -> None:
    identity = msgspec.structs.replace(ROOT, session_id=id)

    assert custom(SET_SESSION).sets(identity, request(), "call_1") == []


def test_an_id_that_is_too_long_is_not_cut_off_but_left_out() -> None:
    rule = {"set": [{"header": "x-session-id", "part": "session", "most": 6}]}
    longer = msgspec.structs.replace(ROOT, session_id="sess_12")

    assert custom(rule).sets(ROOT, request(), "call_1") == [Edit("x-session-id", "sess_1")]
    assert custom(rule).sets(longer, request(), "call_1") == []


def test_a_run_is_one_trace_and_each_call_a_span() -> None:
    one, two = (parts.part("traceparent", CHILD, call) for call in ("call_1", "call_2"))
    other = parts.part("traceparent", ROOT, "call_3")

    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", one)
    assert one.split("-")[1] == two.split("-")[1] == other.split("-")[1]
    assert len({one, two, other}) == 3


def test_baggage_joins_what_the_client_carries() -> None:
    mine = custom({"set": [{"header": "baggage", "part": "baggage"}]})

    def carried(there: str) -> list[Edit]:
        return mine.sets(CHILD, request(headers=(("Baggage", there),)), "call_1")

    ours = "session.id=sess_1,gen_ai.conversation.id=sess_2"
    assert carried("user=ada") == [Edit("baggage", f"user=ada,{ours}")]
    assert carried(" ") == [Edit("baggage", ours)]
    assert carried("session.id=7") == [
        Edit("baggage", "session.id=7,gen_ai.conversation.id=sess_2")
    ]
    assert carried(ours) == []


@pytest.mark.parametrize(("sends_final", "sent"), [(True, ["true"]), (False, [])])
def test_the_last_call_is_marked_only_where_that_is_configured(
    sends_final: bool, sent: list[str]
) -> None:
    mine = custom({"set": [{"header": "x-final", "part": "final"}]}, sends_final=sends_final)
    last = msgspec.structs.replace(ROOT, is_final=True)

    assert [edit.value for edit in mine.sets(last, request(), "call_1")] == sent
    assert mine.sets(ROOT, request(), "call_1") == []


# Gates, kept headers, signatures


def test_behind_a_gate_nothing_is_set_without_its_header() -> None:
    gated = custom(SET_SESSION | {"gate": "X-Cagent-Forward"})

    assert gated.sets(ROOT, request(), "call_1") == []
    opened = request(headers=(("x-cagent-forward", "https://api.openai.com"),))
    assert gated.sets(ROOT, opened, "call_1") == [Edit("x-session-id", "sess_1")]


def test_a_token_that_a_server_issued_is_neither_written_over_nor_taken_away() -> None:
    mine = custom(SET_SESSION | {"override": True, "strip": ["x-*"], "keep": ["x-session-id"]})
    issued = request(headers=(("X-Session-Id", "MTAuMC4wLjU6ODAwMA=="), ("x-other", "v")))

    assert mine.sets(ROOT, issued, "call_1") == []
    assert mine.strips(issued) == [Edit("x-other", None)]


AWS = "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us/bedrock/aws4_request, "
SIGNED = [
    request(headers=(("authorization", AWS + "SignedHeaders=host;x-dynamo-id, Signature=f"),
                     ("x-dynamo-id", "1"), ("x-dynamo-other", "2"))),
    request(headers=(("x-dynamo-id", "1"), ("x-dynamo-other", "2")),
            path="/model/m/invoke?X-Amz-SignedHeaders=host%3Bx-dynamo-id&X-Amz-Signature=f"),
    request(headers=(("signature-input", 'sig1=("@method" "X-Dynamo-Id");keyid="k"'),
                     ("x-dynamo-id", "1"), ("x-dynamo-other", "2"))),
]  # fmt: skip


@pytest.mark.parametrize("signed", SIGNED, ids=["AWS", "AWS in the query", "RFC 9421"])
def test_what_is_signed_is_left_as_it_is(signed: Request) -> None:
    mine = custom(
        SET_SESSION
        | {"strip": ["x-dynamo-*"], "body": [{"member": "prompt_cache_key", "part": "session"}]}
    )

    assert mine.strips(signed) == [Edit("x-dynamo-other", None)]
    assert mine.sets(ROOT, signed, "call_1") == []
    assert mine.members(ROOT, signed) == []


# Bodies

CACHE_KEY = {"body": [{"member": "prompt_cache_key", "part": "session", "most": 64}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m"}', b'{"prompt_cache_key":"sess_1","model":"m"}'),
        (b' \n{ "a" : 1.0 }', b' \n{"prompt_cache_key":"sess_1", "a" : 1.0 }'),
        (b"{}", b'{"prompt_cache_key":"sess_1"}'),
        (b"{ }", b'{"prompt_cache_key":"sess_1" }'),
    ],
)
def test_a_body_gets_a_member_and_stays_as_it_is_beside_it(body: bytes, expected: bytes) -> None:
    members = custom(CACHE_KEY).members(ROOT, request(body=body))

    assert with_members(body, members) == expected


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"prompt_cache_key":"mine"}', ()),
        (b'{"prompt_cache_key":null}', ()),
        (b'{"model":"m"}', (("content-encoding", "gzip"),)),
    ],
)
def test_a_body_that_has_the_member_or_is_packed_stays_as_it_is(
    body: bytes, headers: HeaderList
) -> None:
    assert custom(CACHE_KEY).members(ROOT, request(body=body, headers=headers)) == []


# What the operator names


def test_the_rows_of_the_settings_are_asked_before_those_of_the_table() -> None:
    row = UpstreamRow(profile="dynamo", hosts=("api.openai.com",), ports=(8000,))
    mine = Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles, (row,)), sets=True)

    named = mine.sets(ROOT, request("api.openai.com", port=8000), "call_1")

    assert named == [Edit("x-dynamo-session-id", "sess_1")]
    assert mine.sets(ROOT, request("api.openai.com"), "call_1") == []
    assert mine.upstreams.of(request("api.openai.com", port=8000)).provider == "openai"
