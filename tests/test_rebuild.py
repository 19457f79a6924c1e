"""The request that goes on from a call on record, in every dialect that has a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlite_utils import Database

from callerid.again import declaring, elsewhere, keys, rebuild, speech
from callerid.again.endpoints import NO_KEY, CannotCall, endpoint
from callerid.again.rebuild import CannotGoOn, Origin, Prepared
from callerid.archive.sessions import NotFound
from callerid.settings.load import load
from callerid.traces.database import open_database
from callerid.turn import Dialect
from office import Office, anthropic_reply, office, text

TABLE = load().providers
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
SCHEMA = {"name": "weather", "description": "The weather.", "parameters": TOOL}
ASKED = "Is it raining in Brest?"
WISH = '{"city": "Brest"}'
NEW = "Never mind."


class Case(NamedTuple):
    """A call that ended with a tool call: its path, body, reply, and what goes on from it."""

    path: str
    body: dict[str, Any]
    reply: dict[str, Any]
    place: str
    tail: list[dict[str, Any]]
    streamed: tuple[str, dict[str, Any]]


def chat_reply(**more: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": WISH}}
    said = {"role": "assistant", "content": "I look.", "refusal": None, "tool_calls": [call]} | more
    return {"choices": [{"message": said, "finish_reason": "tool_calls"}]}


CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": WISH}}
CASES = {
    "anthropic": Case(
        "/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": ASKED}]},
        anthropic_reply(
            {"type": "thinking", "thinking": "Hm.", "signature": "s"}, text("I look."),
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Brest"}},
        ),
        "messages",
        [
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"}, text("I look."),
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Brest"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": speech.NOT_RUN}, text(NEW),
            ]},
        ],
        ("/v1/messages", {"stream": True}),
    ),
    "openai_chat": Case(
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": ASKED}], "temperature": 0.2},
        chat_reply(reasoning_content="Hm.", annotations=[]),
        "messages",
        [
            {"role": "assistant", "content": "I look.", "tool_calls": [CHAT_CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": speech.NOT_RUN},
            {"role": "user", "content": NEW},
        ],
        ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}),
    ),
    "openai_responses": Case(
        "/v1/responses",
        {"model": "m", "input": ASKED},
        {"id": "r1", "status": "completed", "output": [
            {"id": "rs_1", "type": "reasoning", "summary": []},
            {"id": "ct_1", "type": "custom_tool_call", "status": "completed", "call_id": "c1",
             "name": "weather", "input": "Brest"},
        ]},
        "input",
        [
            {"type": "custom_tool_call", "call_id": "c1", "name": "weather", "input": "Brest"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": speech.NOT_RUN},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": NEW}]},
        ],
        ("/v1/responses", {"stream": True}),
    ),
    "gemini": Case(
        "/v1beta/models/m:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]},
        {"candidates": [{"content": {"role": "model", "parts": [
            {"functionCall": {"name": "weather", "args": {"city": "Brest"}},
             "thoughtSignature": "s"},
        ]}}]},
        "contents",
        [
            {"role": "model", "parts": [
                {"functionCall": {"name": "weather", "args": {"city": "Brest"}},
                 "thoughtSignature": "s"}
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": speech.NOT_RUN}}},
                {"text": NEW},
            ]},
        ],
        ("/v1beta/models/m:streamGenerateContent?alt=sse", {}),
    ),
    "bedrock_converse": Case(
        "/model/m/converse",
        {"messages": [{"role": "user", "content": [{"text": ASKED}]}]},
        {"output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Brest"}}}
        ]}}, "stopReason": "tool_use"},
        "messages",
        [
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Brest"}}}
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": speech.NOT_RUN}]}},
                {"text": NEW},
            ]},
        ],
        ("/model/m/converse-stream", {}),
    ),
    "cohere": Case(
        "/v2/chat",
        {"model": "m", "messages": [{"role": "user", "content": ASKED}]},
        {"id": "x", "finish_reason": "TOOL_CALL", "message": {
            "role": "assistant", "tool_plan": "I look.", "tool_calls": [CHAT_CALL]}},
        "messages",
        [
            {"role": "assistant", "tool_plan": "I look.", "tool_calls": [CHAT_CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": speech.NOT_RUN},
            {"role": "user", "content": NEW},
        ],
        ("/v2/chat", {"stream": True}),
    ),
    "ollama": Case(
        "/api/chat",
        {"model": "m", "stream": False, "messages": [{"role": "user", "content": ASKED}]},
        {"model": "m", "done": True, "message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Brest"}}}]}},
        "messages",
        [
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Brest"}}}
            ]},
            {"role": "tool", "tool_name": "weather", "content": speech.NOT_RUN},
            {"role": "user", "content": NEW},
        ],
        ("/api/chat", {"stream": True}),
    ),
}  # fmt: skip


class Shelf:
    """Records calls, and gives what goes on from them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.ids: list[str] = []
        self.session = ""
        self.database: Database | None = None

    def record(self, *calls: tuple[str, Any, Any], **options: Any) -> None:
        with office(self._path, **options.pop("settings", {})) as at:
            for path, body, reply in calls:
                self._call(at, path, body, reply, **options)
        self.database = open_database(self._path)

    def _call(self, at: Office, path: str, body: Any, reply: Any, **options: Any) -> None:
        id, identity = at.call(path, body, reply, **options)
        self.ids.append(id)
        self.session = identity.session_id

    def origin(self, call: int = -1) -> Origin:
        assert self.database is not None
        return rebuild.origin(self.database, self.session, self.ids[call])


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "traces.db")
    yield made
    if made.database is not None:
        made.database.conn.close()


def said(prepared: Prepared) -> Any:
    return json.loads(prepared.body)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_words_go_on_in_the_dialect_of_the_call(shelf: Shelf, case: Case) -> None:
    shelf.record((case.path, case.body, case.reply))

    prepared = rebuild.going_on(shelf.origin(), NEW)

    path, streaming = case.streamed
    body = said(prepared)
    assert body[case.place][1:] == case.tail
    asked = case.body[case.place]
    assert body[case.place][0] == (
        asked[0] if isinstance(asked, list) else {"role": "user", "content": asked}
    )
    others = {name: value for name, value in body.items() if name != case.place}
    assert others == {n: v for n, v in case.body.items() if n != case.place} | streaming
    assert prepared.url == f"https://llm.example{path}"


def test_cohere_v1_keeps_its_newest_message_beside_the_history(shelf: Shelf) -> None:
    body = {"model": "m", "message": ASKED, "chat_history": [{"role": "USER", "message": "Hi"}]}
    shelf.record(("/v1/chat", body, {"text": "Yes.", "finish_reason": "COMPLETE"}))

    assert said(rebuild.going_on(shelf.origin(), NEW)) == {
        "model": "m",
        "message": NEW,
        "chat_history": [
            {"role": "USER", "message": "Hi"},
            {"role": "USER", "message": ASKED},
            {"role": "CHATBOT", "message": "Yes."},
        ],
        "stream": True,
    }


def test_a_request_that_is_wrapped_stays_so(shelf: Shelf) -> None:
    inner = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}], "session_id": "s"}
    reply = {"response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "Y"}]}}]}}
    body = {"model": "m", "project": "p", "request": inner}
    shelf.record(("/v1internal:generateContent", body, reply))

    prepared = rebuild.going_on(shelf.origin(), NEW)

    assert said(prepared)["project"] == "p"
    assert said(prepared)["request"]["session_id"] == "s"
    assert [c["parts"][0]["text"] for c in said(prepared)["request"]["contents"]] == [
        ASKED, "Y", NEW,
    ]  # fmt: skip
    assert prepared.facts.path == "/v1internal:streamGenerateContent?alt=sse"
    assert elsewhere.neutral(shelf.origin()).messages[0].text == ASKED


def responses(*calls: tuple[Any, str, str, str]) -> list[tuple[str, Any, Any]]:
    return [
        (
            "/v1/responses",
            {"model": "m", "instructions": "Be brief.", "input": words}
            | ({"previous_response_id": previous} if previous else {}),
            {"id": id, "status": "completed", "output": [
                {"id": f"msg_{id}", "type": "message", "status": "completed", "role": "assistant",
                 "content": [{"type": "output_text", "text": answer}]}
            ]},
        )
        for words, previous, id, answer in calls
    ]  # fmt: skip


def test_a_history_that_the_provider_keeps_is_sent_whole(shelf: Shelf) -> None:
    shelf.record(
        *responses(("One", "", "r1", "1"), ("Two", "r1", "r2", "2"), ("3", "r2", "r3", "4"))
    )

    on = said(rebuild.going_on(shelf.origin(), NEW))
    again = said(rebuild.same_again(shelf.origin(1)))

    def words(body: Any) -> list[Any]:
        return [
            item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
            for item in body["input"]
        ]

    assert words(on) == ["One", "1", "Two", "2", "3", "4", NEW]
    assert words(again) == ["One", "1", "Two"]
    assert not {"previous_response_id"} & {*on, *again}
    assert not any("id" in item or "status" in item for item in on["input"])
    assert on["instructions"] == "Be brief."


@pytest.mark.parametrize("call", ["previous", "conversation"])
def test_what_only_the_provider_has_is_said(shelf: Shelf, call: str) -> None:
    ((path, body, reply),) = responses(("Two", "r1", "r2", "2"))
    if call == "conversation":
        body = {"model": "m", "input": "Two", "conversation": "conv_1"}
    shelf.record((path, body, reply))

    with pytest.raises(CannotGoOn, match=r"which is not on record|the provider keeps"):
        shelf.origin()


def test_what_has_no_conversation_is_said(shelf: Shelf) -> None:
    reply = {"choices": [{"text": "upon a time"}]}
    shelf.record(("/v1/completions", {"model": "m", "prompt": "Once"}, reply))

    with pytest.raises(CannotGoOn, match="is a call of completions, which has no conversation"):
        shelf.origin()


def test_what_is_not_on_record_is_said(shelf: Shelf) -> None:
    case = CASES["anthropic"]
    shelf.record((case.path, case.body, case.reply), settings={"record": {"content": "none"}})

    with pytest.raises(CannotGoOn, match="is not on record: nothing can be rebuilt"):
        shelf.origin()
    assert shelf.database is not None
    with pytest.raises(NotFound):
        rebuild.origin(shelf.database, "nobody")


TALK = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "1", "name": "me", "reasoning": None},
        {"role": "user", "content": "Two"},
    ],
}


def test_a_cut_counts_what_was_said_but_not_the_prompt(shelf: Shelf) -> None:
    shelf.record(("/v1/chat/completions", TALK, chat_reply()))

    for at, kept in ((0, 1), (1, 2), (2, 3), (4, 5), (-1, 4), (-4, 1)):
        cut = rebuild.cut(shelf.origin(), at)
        messages = said(rebuild.going_on(cut, NEW))["messages"]
        assert messages[:kept] == [*TALK["messages"], *CASES["openai_chat"].tail[:1]][:kept]
        assert messages[-1] == {"role": "user", "content": NEW}
        assert len(messages) == kept + 1 + (kept == 5)  # the tool call that was left open
    assert rebuild.cut(shelf.origin(), 2).point == f"message 2 of {shelf.ids[-1]}"
    for at in (5, -5):
        with pytest.raises(CannotGoOn, match="has 4 messages with its reply"):
            rebuild.cut(shelf.origin(), at)


def test_a_reply_is_sent_as_its_client_sends_replies(shelf: Shelf) -> None:
    shelf.record(("/v1/chat/completions", TALK, chat_reply(name="me", other="x", tool_calls=None)))

    messages = said(rebuild.going_on(shelf.origin(), NEW))["messages"]

    assert messages[4] == {"role": "assistant", "content": "I look.", "name": "me"}


def test_the_same_again_is_the_same_to_the_byte(shelf: Shelf) -> None:
    body = json.dumps(TALK, indent=1).encode()
    shelf.record(("/v1/chat/completions", body, chat_reply()))

    assert rebuild.same_again(shelf.origin()).body == body
    assert rebuild.same_again(shelf.origin(), "m").body == body


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        ("/v1/messages", "n", "/v1/messages"),
        ("/v1beta/models/m:generateContent", "n/2", "/v1beta/models/n%2F2:generateContent"),
        ("/model/m/converse", "n:1", "/model/n%3A1/converse"),
    ],
)
def test_another_model_stands_where_the_first_stood(
    shelf: Shelf, path: str, model: str, expected: str
) -> None:
    case = next(case for case in CASES.values() if case.path == path)
    shelf.record((case.path, case.body, case.reply))

    prepared = rebuild.same_again(shelf.origin(), model)

    assert prepared.facts.path == expected
    assert prepared.model == model
    assert said(prepared).get("model", model) == model


def test_a_frame_of_a_web_socket_is_sent_as_a_request(shelf: Shelf) -> None:
    ((path, body, reply),) = responses(("One", "", "r1", "1"))
    shelf.record((path, {"type": "response.create"} | body, reply))

    prepared = rebuild.same_again(shelf.origin())

    assert "type" not in said(prepared)
    assert said(prepared)["stream"] is True
    assert prepared.facts.method == "POST"


HEADERS = (
    ("host", "llm.example"), ("authorization", "Bearer sk-lab-0123456789abcdef"),
    ("x-app", "cli"), ("content-length", "9"), ("accept-encoding", "gzip"),
    ("traceparent", "00-1-2-01"), ("x-amz-date", "now"), ("x-callerid-session-id", "a"),
    ("cookie", "a=b"), ("anthropic-beta", "lab-1"),
)  # fmt: skip


def test_headers_go_along_but_those_of_the_connection_the_key_and_the_one_call(
    shelf: Shelf,
) -> None:
    case = CASES["anthropic"]
    shelf.record((f"{case.path}?beta=true&key=AIzaabc", case.body, case.reply), headers=HEADERS)

    prepared = rebuild.same_again(shelf.origin())

    assert prepared.headers == (("x-app", "cli"), ("anthropic-beta", "lab-1"))
    assert prepared.facts.path == "/v1/messages?beta=true"


def test_a_key_goes_to_whom_it_is_for(shelf: Shelf) -> None:
    case = CASES["anthropic"]
    shelf.record((case.path, case.body, case.reply), headers=HEADERS)
    facts = shelf.origin().facts
    environment = {"ANTHROPIC_API_KEY": "sk-a", "OPENAI_API_KEY": "sk-o", "OURS": "sk-x"}

    def credential(host: str, variable: str = "") -> keys.Credential:
        there = rebuild.replace(facts, host=host)
        return keys.credential(TABLE, there, environment, variable)

    assert credential("api.anthropic.com") == ("x-api-key", "sk-a")
    assert credential("api.openai.com") == ("authorization", "Bearer sk-o")
    assert credential("llm.example", "OURS") == ("authorization", "Bearer sk-x")
    assert credential("api.anthropic.com").masked == (("x-api-key", "***"),)
    with pytest.raises(CannotCall, match=r"no key is known for llm.example .* --key-from NAME"):
        credential("llm.example")
    with pytest.raises(CannotCall, match="NOBODYS is not set"):
        credential("llm.example", "NOBODYS")
    with pytest.raises(CannotCall, match="there is no key for groq: set GROQ_API_KEY"):
        credential("api.groq.com")


def test_who_was_called_without_a_key_gets_none(shelf: Shelf) -> None:
    case = CASES["ollama"]
    shelf.record((case.path, case.body, case.reply), host="localhost")

    assert keys.credential(TABLE, shelf.origin().facts, {"OPENAI_API_KEY": "sk-o"}) == ("", "")


def test_an_endpoint_is_a_row_or_anybodys_with_a_base_url() -> None:
    environment = {"GOOGLE_API_KEY": "g", "AZURE_OPENAI_API_KEY": "a"}

    gemini = endpoint(TABLE, "google", environment)
    own = endpoint(TABLE, "mine", environment, base_url="http://localhost:1/v1")
    azure = endpoint(TABLE, "azure.ai.openai", environment, base_url="https://x/v1")

    assert (gemini.provider, gemini.dialect, gemini.key) == ("gcp.gemini", Dialect.GEMINI, "g")
    assert (own.dialect, own.key) == (Dialect.OPENAI_CHAT, NO_KEY)
    assert (azure.dialect, azure.key) == (Dialect.OPENAI_CHAT, "a")
    with pytest.raises(CannotCall, match=r"azure.ai.openai can be called with a base_url"):
        endpoint(TABLE, "azure.ai.openai", environment)


@pytest.mark.parametrize("name", ["anthropic", "openai_chat", "bedrock_converse", "gemini"])
def test_a_call_in_nobodys_dialect_has_prompt_words_tools_and_settings(
    shelf: Shelf, name: str
) -> None:
    case = CASES[name]
    more: dict[str, Any] = {
        "anthropic": {
            "system": "Be brief.", "temperature": 0.5,
            "tools": [{"name": "weather", "description": "The weather.", "input_schema": TOOL}],
        },
        "openai_chat": {
            "max_completion_tokens": 9, "temperature": 0.5,
            "messages": [{"role": "system", "content": "Be brief."}, *case.body[case.place]],
            "tools": [{"type": "function", "function": SCHEMA}],
        },
        "bedrock_converse": {
            "system": [{"text": "Be brief."}],
            "inferenceConfig": {"maxTokens": 9, "temperature": 0.5},
            "toolConfig": {"tools": [{"toolSpec": {
                "name": "weather", "description": "The weather.", "inputSchema": {"json": TOOL},
            }}]},
        },
        "gemini": {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {"maxOutputTokens": 9, "temperature": 0.5},
            "tools": [{"functionDeclarations": [
                SCHEMA | {"parameters": {"type": "OBJECT", "properties": {
                    "city": {"type": "STRING"}}}}
            ]}, {"googleSearch": {}}],
        },
    }[name]  # fmt: skip
    shelf.record((case.path, case.body | more, case.reply))

    found = elsewhere.neutral(shelf.origin())

    assert found.system == "Be brief."
    assert [message.text for message in found.messages] == [ASKED]
    assert found.tools == (("weather", "The weather.", TOOL),)
    assert found.settings == {"max_tokens": 9, "temperature": 0.5}


def test_a_declaration_is_what_the_table_of_clients_reads() -> None:
    rows = {row.name: row for row in load().clients.clients}
    known = rows["callerid"].places()

    for made in (
        declaring.headers("a", "b", "fork", "message 2 of c", "r"),
        declaring.headers("a", "b", "subagent"),
        declaring.headers("a", "b", "nonsense"),
    ):
        assert {f"header:{name}" for name in made} <= set(known)
    assert declaring.headers("a", root="a") == {"x-callerid-session-id": "a"}


def test_a_reference_keeps_its_id_and_an_item_does_not() -> None:
    reply = speech.SPEECHES[Dialect.OPENAI_RESPONSES].reply

    assert reply({"type": "item_reference", "id": "i"}, set()) == {
        "type": "item_reference",
        "id": "i",
    }
    assert reply({"type": "message", "id": "i", "status": "completed"}, set()) == {
        "type": "message"
    }
