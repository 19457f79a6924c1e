"""OpenInference's conventions, which Phoenix and Arize read: attributes of calls and sessions.

https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md. Lists are written
out as names with numbers: llm.input_messages.0.message.role. Values of what was said are in them
only where that is to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from callerid.archive.calls import CallFacts, Spoken
from callerid.archive.compare import declared
from callerid.archive.transcript import Answered, Asked, Words, pieces_of, shown_arguments
from callerid.exports.attributes import Attributes, Value, known, ours, settings
from callerid.turn import Dialect, Message, Role
from callerid.wire import wirejson

_TEXT = "text/plain"


def of_call(facts: CallFacts, spoken: Spoken | None) -> Attributes:
    """The attributes of a call; `spoken` is what was said, if that is to be told."""
    given, taken = facts.input_tokens, facts.output_tokens
    total = None if given is None and taken is None else (given or 0) + (taken or 0)
    asked = settings(facts)
    named: dict[str, Value | None] = {
        "openinference.span.kind": ("EMBEDDING" if facts.dialect == Dialect.EMBEDDINGS else "LLM"),
        "llm.model_name": facts.model,
        "llm.provider": facts.provider_name,
        "llm.system": facts.dialect,
        "llm.invocation_parameters": _json(asked) if asked else None,
        "llm.token_count.prompt": given,
        "llm.token_count.completion": taken,
        "llm.token_count.total": total,
        "llm.token_count.prompt_details.cache_read": facts.cache_read_input_tokens,
        "llm.token_count.prompt_details.cache_write": facts.cache_creation_input_tokens,
        "llm.token_count.completion_details.reasoning": facts.reasoning_tokens,
        "llm.cost.total": facts.cost_usd,
        **_whose(facts),
    }
    said = dict(_content(spoken)) if spoken is not None else {}
    return {**known(named), **said, **ours(facts)}


def of_session(facts: CallFacts) -> Attributes:
    """The attributes of the session that a call is of."""
    return known({"openinference.span.kind": "AGENT", **_whose(facts)})


def _whose(facts: CallFacts) -> dict[str, Value | None]:
    return {
        "session.id": facts.root_session_id or facts.session_id,
        "agent.name": facts.agent,
        "graph.node.id": facts.session_id,
        "graph.node.name": facts.agent,
        "graph.node.parent_id": facts.parent_session_id,
        "metadata": _json(
            known({"conversation": facts.session_id, "client": facts.client, "kind": facts.kind})
        ),
    }


def _content(spoken: Spoken) -> Iterator[tuple[str, Value]]:
    call = spoken.call
    if call is not None:
        system = [(Role.SYSTEM, call.system)] if call.system_raw and call.system else []
        for at, (role, text) in enumerate(system):
            yield f"llm.input_messages.{at}.message.role", role.value
            yield f"llm.input_messages.{at}.message.content", text
        yield from _messages("llm.input_messages", call.messages, len(system))
        for at, (_, tool) in enumerate(declared(call)):
            yield f"llm.tools.{at}.tool.json_schema", _json(tool)
        if newest := next((one for one in reversed(call.messages) if one.text), None):
            yield "input.value", newest.text
            yield "input.mime_type", _TEXT
    yield from _messages("llm.output_messages", spoken.reply, 0)
    if answer := "\n".join(message.text for message in spoken.reply if message.text):
        yield "output.value", answer
        yield "output.mime_type", _TEXT


def _messages(list_name: str, messages: Iterable[Message], at: int) -> Iterator[tuple[str, Value]]:
    """Messages, numbered from a place on; what a tool answered is a message of its own."""
    for message in messages:
        pieces = pieces_of(message)
        for piece in pieces:
            if isinstance(piece, Answered):
                name = f"{list_name}.{at}.message"
                yield f"{name}.role", Role.TOOL.value
                yield f"{name}.tool_call_id", piece.call_id
                yield f"{name}.content", piece.text
                at += 1
        rest = [piece for piece in pieces if not isinstance(piece, Answered)]
        if not rest:
            continue
        name = f"{list_name}.{at}.message"
        yield f"{name}.role", message.role.value
        words = [piece.text for piece in rest if isinstance(piece, Words)]
        if words:
            yield f"{name}.content", "\n".join(words)
        wishes = [piece for piece in rest if isinstance(piece, Asked)]
        for number, wish in enumerate(wishes):
            place = f"{name}.tool_calls.{number}.tool_call"
            yield f"{place}.id", wish.id
            yield f"{place}.function.name", wish.name
            yield f"{place}.function.arguments", shown_arguments(wish.arguments)
        at += 1


def _json(value: object) -> str:
    return wirejson.encode(value).decode("utf-8", "replace")
