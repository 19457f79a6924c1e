"""Talks to providers by pydantic-ai: the one module that knows its models and its agents."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

try:
    from pydantic_ai import Agent, Tool
    from pydantic_ai import messages as library
    from pydantic_ai.exceptions import AgentRunError, UserError
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ModelSettings
except ImportError as error:
    raise ImportError(
        "callerid.client talks to providers by pydantic-ai, which is not installed: "
        "pip install 'callerid[client]'"
    ) from error

from callerid.again.endpoints import Endpoint
from callerid.client.errors import AgentError
from callerid.client.events import Event
from callerid.client.tools import told
from callerid.turn import Dialect

SECONDS = 600.0  # for a reply; as the SDKs have it
CONNECT_SECONDS = 10.0
# The system prompt is the program's own, to the letter: 2.x would explain its ways to some models.
_PLAIN = {"framing_announcement": "never"}
_VENDORS = ("openai_", "anthropic_", "google_")  # settings of one vendor's alone begin so


class _Kind(NamedTuple):
    """Where the library has what speaks a dialect, and what its SDK raises."""

    module: str
    model: str
    provider: str
    errors: str


_KINDS = {
    Dialect.OPENAI_CHAT: _Kind("openai", "OpenAIChatModel", "OpenAIProvider", "openai:OpenAIError"),
    Dialect.OPENAI_RESPONSES: _Kind(
        "openai", "OpenAIResponsesModel", "OpenAIProvider", "openai:OpenAIError"
    ),
    Dialect.ANTHROPIC: _Kind(
        "anthropic", "AnthropicModel", "AnthropicProvider", "anthropic:AnthropicError"
    ),
    Dialect.GEMINI: _Kind(
        "google", "GoogleModel", "GoogleProvider", "google.genai.errors:APIError"
    ),
}


class Line(NamedTuple):
    """The way to a provider: `proxy` "" is what the environment says (HTTPS_PROXY).

    `authority` is a file of certificates to trust beside the system's: the proxy's own.
    """

    proxy: str = ""
    authority: Path | None = None
    transport: Any = None  # what carries requests instead, as one that only keeps them


class Asked(NamedTuple):
    """What asks a model, and the connections that it has; they belong to one event loop."""

    dialect: Dialect
    model: Model
    connections: Any


def asked(endpoint: Endpoint, name: str, line: Line) -> Asked:
    """What asks a model of a provider."""
    kind = _KINDS[endpoint.dialect]
    models = importlib.import_module(f"pydantic_ai.models.{kind.module}")
    providers = importlib.import_module(f"pydantic_ai.providers.{kind.module}")
    connections = _connections(line)
    provider = getattr(providers, kind.provider)(
        api_key=endpoint.key, base_url=endpoint.base_url, http_client=connections
    )
    model: Model = getattr(models, kind.model)(name, provider=provider)
    return Asked(endpoint.dialect, model, connections)


def _http() -> Any:
    """The library that the SDKs stand on: httpx2 from Python 3.12 on, else httpx."""
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")


def _connections(line: Line) -> Any:
    context = ssl.create_default_context()
    if line.authority is not None and line.authority.exists():
        context.load_verify_locations(line.authority)
    http = _http()
    timeout = http.Timeout(SECONDS, connect=CONNECT_SECONDS)
    if line.transport is not None:
        return http.AsyncClient(transport=line.transport, timeout=timeout)
    return http.AsyncClient(proxy=line.proxy or None, verify=context, timeout=timeout)


class Written(NamedTuple):
    """A request as it would have been sent; its headers hold the key."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def keeping(kept: list[Written]) -> Any:
    """What carries no request anywhere, but keeps it, and answers that it was refused."""
    http = _http()

    async def keep(request: Any) -> Any:
        headers = tuple(request.headers.multi_items())
        kept.append(Written(request.method, str(request.url), headers, await request.aread()))
        return http.Response(400, json={"error": {"message": "kept"}})

    return http.MockTransport(keep)


def failures(dialect: Dialect) -> tuple[type[BaseException], ...]:
    """What is raised where a provider is not there or refuses, or a model cannot be understood."""
    module, _, name = _KINDS[dialect].errors.partition(":")
    own = getattr(importlib.import_module(module), name)
    return (AgentRunError, UserError, OSError, _http().HTTPError, own)


def agent_error(error: BaseException) -> AgentError:
    """What went wrong, as ours."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    words = str(error) or type(error).__name__
    return AgentError(words, status if isinstance(status, int) else None)


def settings(said: Mapping[str, Any], headers: Mapping[str, str]) -> ModelSettings:
    """The settings of a call; raises TypeError where the library has no such setting."""
    for name in said:
        if name not in ModelSettings.__annotations__ and not name.startswith(_VENDORS):
            known = ", ".join(sorted(ModelSettings.__annotations__))
            raise TypeError(f"there is no setting {name!r}; there are {known}")
    plain = {name: value for name, value in _PLAIN.items() if name in ModelSettings.__annotations__}
    merged = {**plain, **said, "extra_headers": {**said.get("extra_headers", {}), **headers}}
    made: ModelSettings = merged  # type: ignore[assignment]
    return made


def agent(model: Model, system: str, tools: Sequence[Callable[..., Any]]) -> Agent[None, Any]:
    """What runs a turn: the model asked, tools that it wants run, their results given back."""
    return Agent(model, instructions=system or None, tools=[_tool(each) for each in tools])


def _tool(function: Callable[..., Any]) -> Tool[None]:
    said = told(function)
    return Tool(function, name=said.name or None, description=said.description or None)


class Turn(NamedTuple):
    """What a turn is made of."""

    agent: Agent[None, Any]
    text: str
    history: list[library.ModelMessage]
    settings: ModelSettings
    schema: Any = str

    def options(self) -> dict[str, Any]:
        """What the library is told beside the words."""
        return {
            "message_history": self.history or None,
            "model_settings": self.settings,
            "output_type": self.schema,
        }


class Ended(NamedTuple):
    """How a turn ended: its output, and the messages that are new."""

    output: Any
    messages: list[library.ModelMessage]


async def run(turn: Turn) -> Ended:
    """Run a turn to its end."""
    result = await turn.agent.run(turn.text, **turn.options())
    return Ended(result.output, result.new_messages())


async def stream(turn: Turn) -> AsyncIterator[Event | Ended]:
    """Run a turn, and tell of what comes as it comes; the last is how it ended."""
    async with turn.agent.iter(turn.text, **turn.options()) as running:
        async for node in running:
            if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                async with node.stream(running.ctx) as events:
                    async for event in events:
                        for found in told_of(event):
                            yield found
    assert running.result is not None
    yield Ended(running.result.output, running.result.new_messages())


def told_of(event: object) -> list[Event]:
    """What an event of the library's says that is told on; most say nothing."""
    match event:
        case library.PartStartEvent(part=library.TextPart(content=text)) if text:
            return [Event("text_delta", text)]
        case library.PartDeltaEvent(delta=library.TextPartDelta(content_delta=text)) if text:
            return [Event("text_delta", text)]
        case library.PartStartEvent(part=library.ThinkingPart(content=text)) if text:
            return [Event("thinking_delta", text)]
        case library.PartDeltaEvent(delta=library.ThinkingPartDelta(content_delta=text)) if text:
            return [Event("thinking_delta", text)]
        case library.FunctionToolCallEvent():
            part = event.part
            arguments = part.args_as_dict()
            return [Event("tool_call", "", part.tool_name, arguments, part.tool_call_id)]
        case library.FunctionToolResultEvent():
            answer = getattr(event, "part", None) or getattr(event, "result", None)  # of 1.x
            if isinstance(answer, library.ToolReturnPart):
                words = answer.model_response_str()
                return [Event("tool_result", words, answer.tool_name, None, answer.tool_call_id)]
    return []
