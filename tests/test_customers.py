"""Two customers of one proxy: whatever they say, and whoever copies whom, nothing of theirs is one.

They share a machine, a connection, words, and the ids that providers and people give; each may know
all that the other has said and was answered, and the ids of his sessions. Only the credential
differs. (An id made up at random, a UUID or a live proxy's own, is the exception: who has it was
told it. Those that are made here count up.)
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from callerid.identity.memory import Memory
from callerid.identity.owners import MAX_ID, MOST_MARKS, Owners, marked
from callerid.identity.switchboard import Switchboard, Turn
from callerid.settings.load import load
from callerid.settings.values import SessionSettings
from callerid.turn import Client, Identity, Request
from make import packed

CONFIGURATION = load()
CUSTOMERS = ("ada", "bob")
WORDS = (
    "Hello",
    "start over",
    "Write a title for this conversation: Tell me of the tides at Saint-Malo.",
    "Tell me of the tides at Saint-Malo.",
    "Read page 112 of the almanac and report the highest spring tide with its hour.",
    "Summary of what went before. " + "The tide was high at half past nine, said the clerk. " * 6,
)
IDS = ("1", "run-1", "resp_1", "sess_1")
HEADERS = (
    "x-session-id", "x-callerid-session-id", "x-callerid-parent-session-id",
    "x-callerid-forked-session-id", "x-dynamo-session-id", "x-dynamo-parent-session-id",
    "x-claude-code-session-id", "session_id", "x-openai-subagent", "x-litellm-trace-id",
    "helicone-session-id", "x-litellm-session-id", "langfuse_session_id", "baggage",
)  # fmt: skip
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/embeddings")
THOROUGH = settings(
    max_examples=300, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


class Move(msgspec.Struct, frozen=True):
    """One call, and what it is answered: which of what there is, by number."""

    customer: int
    path: int
    goes_on: int  # from which of the histories so far; negative: from none
    keeps: int  # messages of it
    word: int
    answer: int
    headers: tuple[tuple[int, int], ...]
    response_id: int
    tool_id: int
    names_previous: int
    seconds: int


numbers = st.integers(0, 30)
moves = st.builds(
    Move,
    customer=st.integers(0, 1),
    path=st.integers(0, len(PATHS) - 1),
    goes_on=st.integers(-5, 30),
    keeps=st.integers(0, 8),
    word=numbers,
    answer=numbers,
    headers=st.lists(st.tuples(numbers, numbers), max_size=2).map(tuple),
    response_id=st.integers(0, 3),
    tool_id=st.integers(0, 3),
    names_previous=st.integers(-3, 3),
    seconds=st.sampled_from((0, 1, 300)),
)


class World:
    """A switchboard, and all that was ever said through it, by whomever."""

    def __init__(self, **session: Any) -> None:
        serial = itertools.count(1)
        configuration = CONFIGURATION
        chosen = msgspec.structs.replace(
            configuration.settings, session=msgspec.convert(session, SessionSettings)
        )
        configuration = msgspec.structs.replace(configuration, settings=chosen)
        self.board = Switchboard(configuration, lambda prefix: f"{prefix}_own{next(serial)}")
        self.histories: list[list[dict[str, Any]]] = []
        self.ids = list(IDS)
        self.now = 1_000_000.0
        self.seen: list[tuple[str, Identity]] = []

    def play(self, move: Move) -> None:
        self.now += move.seconds
        path, said = PATHS[move.path], self._history(move)
        headers = tuple(
            (HEADERS[name % len(HEADERS)], _value(name, self.ids[id % len(self.ids)]))
            for name, id in move.headers
        )
        scope = CUSTOMERS[move.customer]
        client = Client(scope, "connection", "127.0.0.1", "agent/1.0")
        body = json.dumps(_body(path, said, move)).encode()
        asked = Request("POST", "https", "llm.example", 443, path, headers, body, client)
        turn = self.board.take(asked, self.now)
        assert turn is not None
        assert turn.identity is not None
        self.seen.append((scope, turn.identity))
        self.ids += [turn.identity.session_id, turn.identity.root_session_id]
        self._answer(turn, path, said, move)

    def _history(self, move: Move) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        if move.goes_on >= 0 and self.histories:
            said = self.histories[move.goes_on % len(self.histories)]
            said = said[: len(said) - move.keeps % 3]
        return [*said, {"role": "user", "content": WORDS[move.word % len(WORDS)]}]

    def _answer(self, turn: Turn, path: str, said: list[dict[str, Any]], move: Move) -> None:
        words = WORDS[move.answer % len(WORDS)]
        reader = self.board.reply_reader(turn, packed("application/json"))
        reader.feed(json.dumps(_reply(path, words, move)).encode())
        self.board.answer(turn, reader.finish(200), self.now, has_failed=False)
        self.histories.append([*said, {"role": "assistant", "content": words}])

    def shared(self) -> list[str]:
        """The sessions and runs that are both customers'."""
        whose: dict[str, set[str]] = {}
        for scope, identity in self.seen:
            for id in {identity.session_id, identity.root_session_id, *identity.path}:
                whose.setdefault(id, set()).add(scope)
        return [id for id, scopes in whose.items() if len(scopes) > 1]


def _value(name: int, id: str) -> str:
    if HEADERS[name % len(HEADERS)] == "baggage":
        return f"session.id={id},gen_ai.conversation.id={id}"
    return id


def _body(path: str, said: list[dict[str, Any]], move: Move) -> dict[str, Any]:
    if path == "/v1/embeddings":
        return {"model": "m", "input": [said[-1]["content"]]}
    if path == "/v1/responses":
        named = {"previous_response_id": IDS[move.names_previous % len(IDS)]}
        return {"model": "m", "input": said} | (named if move.names_previous >= 0 else {})
    return {"model": "m", "max_tokens": 9, "system": "You are a clerk.", "messages": said}


def _reply(path: str, words: str, move: Move) -> dict[str, Any]:
    id, tool = IDS[move.response_id], f"tool-{move.tool_id}"
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    arguments = json.dumps({"task": WORDS[4]})
    if path == "/v1/embeddings":
        return {"data": [{"embedding": [0.5]}], "usage": usage}
    if path == "/v1/responses":
        text = {"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": words}]}  # fmt: skip
        call = {"type": "function_call", "call_id": tool, "name": "ask", "arguments": arguments}
        return {"id": id, "status": "completed", "output": [text, call]}
    if path == "/v1/messages":
        use = {"type": "tool_use", "id": tool, "name": "ask", "input": {"task": WORDS[4]}}
        blocks = [{"type": "text", "text": words}, use]
        return {"id": id, "type": "message", "content": blocks, "stop_reason": "tool_use"}
    asked = {"id": tool, "type": "function", "function": {"name": "ask", "arguments": arguments}}
    message = {"role": "assistant", "content": words, "tool_calls": [asked]}
    return {"id": id, "choices": [{"message": message}], "usage": usage}


def move(customer: int, *headers: tuple[int, int]) -> Move:
    """A conversation that begins, with some headers."""
    return Move(
        customer, path=0, goes_on=-1, keeps=0, word=0, answer=1, headers=headers, response_id=0,
        tool_id=0, names_previous=-1, seconds=0,
    )  # fmt: skip


@THOROUGH
@given(st.lists(moves, min_size=2, max_size=14))
# Bob says that Ada's session is his parent, and Ada declares the id that this parent is known by.
@example([move(0), move(1, (2, 4), (1, 0)), move(0, (12, 7))])
def test_two_customers_never_share_a_session_or_a_run(said: list[Move]) -> None:
    world = World()

    for move in said:
        world.play(move)

    assert not world.shared()


def test_who_finds_every_mark_taken_gets_an_id_that_nobody_has() -> None:
    owners = Owners(Memory(max_sessions=10, ttl_seconds=60), lambda: "sess_new")
    taken = "job"
    owners.owned(taken, "ada")
    for _ in range(MOST_MARKS - 1):
        taken = marked(taken, "bob")
        owners.owned(taken, "ada")

    assert owners.own("job", "bob") == "sess_new"
    owners.owned(taken, "bob")
    assert owners.own("job", "bob") == taken


def test_long_ids_that_begin_alike_keep_apart_and_stay_short_enough() -> None:
    owners = Owners(Memory(max_sessions=10, ttl_seconds=60), lambda: "sess_new")
    long = ["x" * 250 + end for end in ("one", "two")]
    for id in long:
        owners.owned(id, "ada")

    own = [owners.own(id, "bob") for id in long]

    assert len({*long, *own}) == 4
    assert own == [owners.own(id, "bob") for id in long]
    assert all(len(id) <= MAX_ID for id in own)
