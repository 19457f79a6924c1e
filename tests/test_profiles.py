"""The shipped profiles: what each kind of upstream gets, told with one tree of sessions."""

from __future__ import annotations

import msgspec
import pytest

from callerid.settings.load import load
from callerid.settings.tables import UpstreamRow
from callerid.stamp.stamper import Stamper, with_members
from callerid.stamp.upstreams import Upstreams
from callerid.turn import Because, Client, HeaderList, Identity, Relation, Request

SHIPPED = load()
MAIN = Identity(
    "sess_main", "agent_lead", "sess_main", Because.HISTORY, 0.99, "", agent_name="lead",
    client_name="codex", path=("sess_main",),
)  # fmt: skip
CHILD = Identity(
    "sess_child", "agent_scout", "sess_main", Because.NEW, 0.9, "", agent_name="scout",
    client_name="codex", parent_session_id="sess_main", relation=Relation.SUBAGENT, is_final=True,
    path=("sess_main", "sess_child"),
)  # fmt: skip
SENT_BY_CLIENT = (
    ("x-cagent-forward", "https://api.openai.com"),
    ("x-session-token", "bnMvcG9k"),
)

# profile: what the child's last call gets, with final marks switched on
STORIES = {
    "callerid": {
        "x-callerid-session-id": "sess_child",
        "x-callerid-agent-id": "agent_scout",
        "x-callerid-parent-session-id": "sess_main",
    },
    "public": {},
    "none": {},
    "cylestio": {"x-cylestio-session-id": "sess_child", "x-cylestio-agent-id": "agent_scout"},
    "dynamo": {
        "x-dynamo-session-id": "sess_child",
        "x-dynamo-parent-session-id": "sess_main",
        "x-dynamo-session-final": "true",
    },
    "cagent": {"x-cagent-session-id": "sess_child"},
    "litellm": {"x-litellm-session-id": "sess_child", "x-litellm-agent-id": "agent_scout"},
    "switchyard": {
        "x-switchyard-session-id": "sess_main",
        "x-switchyard-agent-id": "sess_child",
        "x-switchyard-parent-agent-id": "sess_main",
        "x-switchyard-is-subagent": "true",
        "x-switchyard-session-final": "true",
    },
    "smg": {"x-smg-routing-key": "sess_child"},
    "vllm-production-stack": {"x-session-id": "sess_child"},
    "aibrix": {"x-aibrix-session-key": "sess_child"},
    "semantic-router": {"x-session-id": "sess_main", "x-conversation-id": "sess_child"},
    "envoy-ai-gateway": {"agent-session-id": "sess_child"},
    "llm-d": {},
    "llm-gateway": {"x-session-id": "sess_child"},
    "bifrost": {"x-bf-session-id": "sess_child"},
    "portkey": {"x-portkey-trace-id": "sess_main", "x-portkey-span-name": "scout"},
    "helicone": {
        "helicone-session-id": "sess_main",
        "helicone-session-path": "/sess_main/sess_child",
        "helicone-session-name": "codex",
    },
    "otel": {
        "traceparent": "00-7e896b801fca0a3d044e0beb8c94e690-1549bbd5528df7b7-01",
        "baggage": "session.id=sess_main,gen_ai.conversation.id=sess_child",
    },
    "openrouter": {"x-session-id": "sess_child"},
    "fireworks": {"x-session-affinity": "sess_child"},
    "workers-ai": {"x-session-affinity": "sess_child"},
    "xai": {"x-grok-conv-id": "sess_child"},
    "opencode-zen": {"x-opencode-session": "sess_main"},
    "openai": {},
}
PUBLIC = {
    "openrouter": "openrouter.ai",
    "fireworks": "api.fireworks.ai",
    "xai": "api.x.ai",
    "opencode-zen": "opencode.ai",
    "openai": "api.openai.com",
}


def stamper(profile: str) -> Stamper:
    """A stamper of which every upstream gets one profile."""
    row = UpstreamRow(profile=profile)
    return Stamper(
        Upstreams(SHIPPED.providers, SHIPPED.profiles, (row,)), sets=True, sends_final=True
    )


def request(
    headers: HeaderList = (), host: str = "gateway.example", body: bytes = b'{"model":"m"}'
) -> Request:
    return Request("POST", "http", host, 80, "/v1/chat/completions", headers, body, Client())


def test_every_profile_has_a_story() -> None:
    assert set(STORIES) == set(SHIPPED.profiles.profiles)


@pytest.mark.parametrize(("profile", "expected"), STORIES.items(), ids=STORIES)
def test_a_childs_last_call_is_stamped(profile: str, expected: dict[str, str]) -> None:
    sent = request(SENT_BY_CLIENT)

    edits = stamper(profile).sets(CHILD, sent, "call_1")

    assert {edit.name: edit.value for edit in edits} == expected
    assert [edit.name for edit in edits] == list(expected)
    assert not {name for name, _ in SENT_BY_CLIENT} & set(expected)


@pytest.mark.parametrize("profile", STORIES)
def test_a_run_without_children_gets_no_parent_and_no_mark(profile: str) -> None:
    values = [edit.value for edit in stamper(profile).sets(MAIN, request(), "call_1")]

    assert "sess_child" not in values
    assert "true" not in values


@pytest.mark.parametrize("profile", STORIES)
def test_what_the_client_said_itself_is_kept(profile: str) -> None:
    said = tuple((name.title(), "mine") for name in STORIES[profile] if name != "baggage")

    edits = stamper(profile).sets(CHILD, request((*said, *SENT_BY_CLIENT)), "call_1")

    assert [edit.name for edit in edits] == ["baggage"] * (profile == "otel")


@pytest.mark.parametrize(("profile", "host"), PUBLIC.items(), ids=PUBLIC)
def test_a_public_provider_gets_only_what_was_named_for_it(profile: str, host: str) -> None:
    sent = request((("x-callerid-session-id", "s"), ("x-dynamo-session-id", "s")), host)
    unnamed = Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles), sets=True)

    assert unnamed.sets(CHILD, sent, "call_1") == []
    for strips in (unnamed.strips(sent), stamper(profile).strips(sent)):
        assert [edit.name for edit in strips] == ["x-callerid-session-id", "x-dynamo-session-id"]


def test_openai_gets_a_bucket_of_the_cache_in_the_body() -> None:
    mine = stamper("openai")

    members = mine.members(CHILD, request())

    assert with_members(request().body, members) == (
        b'{"prompt_cache_key":"sess_child","model":"m"}'
    )
    assert mine.members(CHILD, request(body=b'{"prompt_cache_key":"theirs"}')) == []
    longer = msgspec.structs.replace(CHILD, session_id="s" * 65)
    assert mine.members(longer, request()) == []


def test_cagents_gate_is_shut_without_its_header() -> None:
    assert stamper("cagent").sets(CHILD, request(), "call_1") == []


def test_a_call_of_cagent_to_its_gateway_gets_cagents_header_unasked() -> None:
    unnamed = Stamper(Upstreams(SHIPPED.providers, SHIPPED.profiles), sets=True)

    edits = unnamed.sets(CHILD, request(SENT_BY_CLIENT), "call_1")

    assert [edit.name for edit in edits] == ["x-cagent-session-id"]


def test_aibrix_keeps_the_token_that_it_issued() -> None:
    issued = request((("x-session-id", "MTAuMC4wLjU6ODAwMA=="),))

    edits = stamper("aibrix").sets(CHILD, issued, "call_1")

    assert [edit.name for edit in edits] == ["x-aibrix-session-key"]
    assert stamper("aibrix").strips(issued) == []


def test_ids_of_ours_are_what_gateways_take() -> None:
    """LiteLLM's scan wants [A-Za-z0-9_-]{8,}; Bifrost takes 255 characters, the others 256."""
    longest = msgspec.structs.replace(CHILD, session_id="s" * 256)

    assert stamper("bifrost").sets(longest, request(), "call_1") == []
    assert stamper("dynamo").sets(longest, request(), "call_1")[0].value == "s" * 256
