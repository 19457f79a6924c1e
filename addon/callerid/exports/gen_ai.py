"""OpenTelemetry's conventions for generative AI, 1.41: the attributes of calls and sessions.

https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai. `session.id` is the
run, `gen_ai.conversation.id` the session. The newest names are those that the conventions' own
repository has since merged (https://github.com/open-telemetry/semantic-conventions-genai).
"""

from __future__ import annotations

from callerid.archive.calls import CallFacts, Spoken
from callerid.archive.compare import declared
from callerid.archive.transcript import Answered, Asked, Pieces, Thought, Words, pieces_of
from callerid.exports.attributes import Attributes, Value, family, known, ours, settings
from callerid.turn import Because, Dialect, Message
from callerid.wire import wirejson

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_OPERATIONS = {
    Dialect.GEMINI: "generate_content",
    Dialect.COMPLETIONS: "text_completion",
    Dialect.EMBEDDINGS: "embeddings",
}
_WRITTEN = "gen_ai.usage.cache_creation.input_tokens"
_WRITTEN_NEWEST = "gen_ai.usage.cache_write.input_tokens"


def operation(facts: CallFacts) -> str:
    """What a call does, in the conventions' word."""
    return _OPERATIONS.get(Dialect(facts.dialect), "chat")


def of_call(facts: CallFacts, spoken: Spoken | None, *, newest: bool) -> Attributes:
    """The attributes of a call; `spoken` is what was said, if that is to be told."""
    first = facts.first_byte_at
    has_failed = facts.state not in ("ok", "in_flight")
    named: dict[str, Value | None] = {
        "gen_ai.operation.name": operation(facts),
        "gen_ai.provider.name": facts.provider_name or facts.dialect,
        "gen_ai.request.model": facts.request_model,
        "gen_ai.response.model": facts.response_model,
        "gen_ai.response.id": facts.response_id,
        "gen_ai.response.finish_reasons": [facts.finish_reason] if facts.finish_reason else None,
        "gen_ai.usage.input_tokens": facts.input_tokens,
        "gen_ai.usage.output_tokens": facts.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": facts.cache_read_input_tokens,
        _WRITTEN_NEWEST if newest else _WRITTEN: facts.cache_creation_input_tokens,
        "gen_ai.usage.reasoning.output_tokens": facts.reasoning_tokens,
        "gen_ai.request.stream": True if facts.is_stream else None,
        "gen_ai.response.time_to_first_chunk": (
            first - facts.started_at if first is not None and facts.is_stream else None
        ),
        "server.address": facts.host,
        "server.port": facts.port,
        "http.response.status_code": facts.status,
        "error.type": (facts.error_type or facts.state) if has_failed else None,
        "gen_ai.agent.id": facts.agent_id,
        "gen_ai.agent.name": facts.agent,
        **_whose(facts),
    }
    if newest and facts.because == Because.COMPACTION:
        named["gen_ai.conversation.compacted"] = True
    asked = {f"gen_ai.request.{name}": value for name, value in settings(facts).items()}
    said = _content(facts, spoken) if spoken is not None else {}
    return {**known(named), **asked, **said, **ours(facts)}


def of_session(facts: CallFacts, *, newest: bool) -> Attributes:
    """The attributes of the session that a call is of: an agent that was asked to do something."""
    return known({
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": facts.provider_name or facts.dialect,
        # The newest conventions keep this name for agents that are hosted somewhere.
        "gen_ai.agent.id": None if newest else facts.agent_id,
        "gen_ai.agent.name": facts.agent,
        "callerid.client.name": facts.client,
        **_whose(facts),
        **family(facts),
    })  # fmt: skip


def _whose(facts: CallFacts) -> dict[str, Value | None]:
    return {
        "session.id": facts.root_session_id or facts.session_id,
        "gen_ai.conversation.id": facts.session_id,
    }


def _content(facts: CallFacts, spoken: Spoken) -> Attributes:
    call = spoken.call
    found: Attributes = {}
    if call is not None:
        if call.system_raw and call.system:
            found["gen_ai.system_instructions"] = _json([{"type": "text", "content": call.system}])
        found["gen_ai.input.messages"] = _json([_message(message) for message in call.messages])
        if call.tools_raw:
            tools = [{"type": "function", "name": name} for name, _ in declared(call)]
            found["gen_ai.tool.definitions"] = _json(tools)
    if spoken.reply:
        reason = facts.finish_reason or ""
        answers = [_message(message) | {"finish_reason": reason} for message in spoken.reply]
        found["gen_ai.output.messages"] = _json(answers)
    return found


def _message(message: Message) -> dict[str, object]:
    return {"role": message.role, "parts": [_part(piece) for piece in pieces_of(message)]}


def _part(piece: Pieces) -> dict[str, object]:
    """A piece in the shape of gen-ai-input-messages.json."""
    if isinstance(piece, Words):
        return {"type": "text", "content": piece.text}
    if isinstance(piece, Asked):
        return {
            "type": "tool_call",
            "id": piece.id or None,
            "name": piece.name,
            "arguments": piece.arguments,
        }
    if isinstance(piece, Answered):
        return {"type": "tool_call_response", "id": piece.call_id or None, "response": piece.text}
    if isinstance(piece, Thought):
        return {"type": "reasoning", "content": piece.text}
    return {"type": piece.kind}


def _json(value: object) -> str:
    return wirejson.encode(value).decode("utf-8", "replace")
