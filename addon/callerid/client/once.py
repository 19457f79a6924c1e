"""Asks a model once, with the history and tools of a call of another dialect; no tool is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic_ai import direct
from pydantic_ai import messages as library_messages
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from callerid.again.elsewhere import Neutral
from callerid.again.endpoints import Endpoint
from callerid.again.sending import Answer, CannotSend
from callerid.client import library, loops, translate
from callerid.client.library import Line, Written
from callerid.turn import Message, Reply, Role, Text, ToolCall, Usage


def ask(
    endpoint: Endpoint, model: str, call: Neutral, headers: dict[str, str], proxy: str,
    authority: Path | None, tell: Callable[[str], None] = lambda text: None,
) -> Answer:  # fmt: skip
    """The answer of another provider's model; raises CannotSend."""
    return loops.run(_ask(endpoint, model, call, headers, Line(proxy, authority), tell))


def written(endpoint: Endpoint, model: str, call: Neutral, headers: dict[str, str]) -> Written:
    """The request that `ask` would send; raises CannotSend where none can be made of the call."""
    kept: list[Written] = []
    line = Line(transport=library.keeping(kept))
    loops.run(_ask(endpoint, model, call, headers, line, lambda text: None))
    if not kept:
        raise CannotSend(f"no request to {endpoint.provider} can be made of this call")
    return kept[0]


async def _ask(
    endpoint: Endpoint, model: str, call: Neutral, headers: dict[str, str], line: Line,
    tell: Callable[[str], None],
) -> Answer:  # fmt: skip
    asked = library.asked(endpoint, model, line)
    history = translate.said(call.messages)
    if call.system:
        prompt = library_messages.SystemPromptPart(call.system)
        history.insert(0, library_messages.ModelRequest([prompt]))
    tools = [
        ToolDefinition(name=name, description=description or None, parameters_json_schema=schema)
        for name, description, schema in call.tools
    ]
    answered: dict[str, str] = {}
    began, first = time.monotonic(), None
    try:
        async with direct.model_request_stream(
            asked.model, history, model_settings=library.settings(call.settings, headers),
            model_request_parameters=ModelRequestParameters(function_tools=tools),
        ) as stream:  # fmt: skip
            async for event in stream:
                first = time.monotonic() - began if first is None else first
                for found in library.told_of(event):
                    if found.type == "text_delta":
                        tell(found.text)
            response = stream.get()
    except library.failures(endpoint.dialect) as error:
        failed = library.agent_error(error)
        if failed.status is None:
            raise CannotSend(str(failed)) from None
        reply = Reply(error=f"http_{failed.status}", error_message=str(failed))
        return Answer(failed.status, answered, reply, first, time.monotonic() - began)
    finally:
        await asked.connections.aclose()
    return Answer(200, answered, _reply(response), first, time.monotonic() - began)


def _reply(response: library_messages.ModelResponse) -> Reply:
    parts: list[Text | ToolCall] = []
    for part in response.parts:
        if isinstance(part, library_messages.TextPart):
            parts.append(Text(part.content))
        elif isinstance(part, library_messages.ToolCallPart):
            parts.append(ToolCall(part.tool_call_id, part.tool_name, part.args_as_dict()))
    usage = Usage(
        input_tokens=response.usage.input_tokens, output_tokens=response.usage.output_tokens,
        cache_read_input_tokens=response.usage.cache_read_tokens,
    )  # fmt: skip
    said = (Message(Role.ASSISTANT, tuple(parts), b"{}"),) if parts else ()
    return Reply(messages=said, model=response.model_name or "", usage=usage)
