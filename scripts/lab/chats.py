"""Conversations that the vendors' own SDKs hold: four dialects, streamed or not, with tools."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import anthropic
import openai
from google import genai
from google.genai import types as gemini

KEY = "sk-lab-0123456789"
_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"task": {"type": "string"}}}


class Wish(NamedTuple):
    """A tool that the model wants to be run."""

    id: str
    name: str
    arguments: dict[str, Any]


class Said(NamedTuple):
    """What the model answered."""

    text: str
    wishes: list[Wish]


@dataclass(frozen=True, slots=True)
class Line:
    """A client's way to its provider: through a proxy, or by a base URL of one's own.

    `base_url` ends before the dialect's own path ("" is the vendor's host).
    """

    ca_file: Path
    proxy_url: str | None = None
    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY

    def options(self, chat: Chat) -> dict[str, Any]:
        """How an httpx client gets there; it tells the chat of each response's headers."""
        return {
            "verify": ssl.create_default_context(cafile=self.ca_file),
            "proxy": self.proxy_url,
            "trust_env": False,
            "event_hooks": {"response": [lambda answer: chat.heard.append(dict(answer.headers))]},
        }


class Chat(Protocol):
    """One conversation: what was said goes along with every call.

    `heard` are the headers of the responses, names in lower case.
    """

    heard: list[dict[str, str]]

    def ask(self, text: str) -> Said:
        """Say something to the model."""

    def give(self, wishes: list[Wish], results: list[str]) -> Said:
        """Tell the model what the tools it wished for have said."""

    def close(self) -> None:
        """End the client's connections."""


class Anthropic:
    """Messages: https://docs.anthropic.com/en/api/messages."""

    def __init__(self, line: Line, system: str, tools: tuple[str, ...], *, streams: bool) -> None:
        self.heard: list[dict[str, str]] = []
        http = anthropic.DefaultHttpxClient(**line.options(self))
        self._client = anthropic.Anthropic(
            api_key=line.key,
            base_url=line.base_url or "https://api.anthropic.com",
            default_headers=line.headers,
            max_retries=0,
            http_client=http,
        )
        self._streams = streams
        self._messages: list[Any] = []
        self._call: dict[str, Any] = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 1000,
            "system": system,
            "tools": [{"name": name, "input_schema": _SCHEMA} for name in tools],
        }

    def ask(self, text: str) -> Said:
        return self._say({"role": "user", "content": text})

    def give(self, wishes: list[Wish], results: list[str]) -> Said:
        blocks = [
            {"type": "tool_result", "tool_use_id": wish.id, "content": result}
            for wish, result in zip(wishes, results, strict=True)
        ]
        return self._say({"role": "user", "content": blocks})

    def close(self) -> None:
        self._client.close()

    def branch(self, line: Line) -> Anthropic:
        """Another conversation, that goes on from where this one stands."""
        other = Anthropic(line, "", (), streams=self._streams)
        other._messages, other._call = list(self._messages), self._call
        return other

    def _say(self, message: Any) -> Said:
        said = [*self._messages, message]
        if self._streams:
            with self._client.messages.stream(messages=said, **self._call) as stream:
                answer = stream.get_final_message()
        else:
            answer = self._client.messages.create(messages=said, **self._call)
        self._messages = [*said, {"role": "assistant", "content": answer.content}]
        uses = [block for block in answer.content if block.type == "tool_use"]
        return Said(
            "".join(block.text for block in answer.content if block.type == "text"),
            [Wish(use.id, use.name, dict(use.input)) for use in uses],
        )


class OpenAIChat:
    """Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

    def __init__(self, line: Line, system: str, tools: tuple[str, ...], *, streams: bool) -> None:
        self.heard: list[dict[str, str]] = []
        self._client = _openai(line, self)
        self._streams = streams
        self._messages: list[Any] = [{"role": "system", "content": system}] if system else []
        functions = [{"name": name, "parameters": _SCHEMA} for name in tools]
        self._call: dict[str, Any] = {"model": "gpt-5.5"}
        if functions:
            self._call["tools"] = [{"type": "function", "function": one} for one in functions]

    def ask(self, text: str) -> Said:
        return self._say([{"role": "user", "content": text}])

    def give(self, wishes: list[Wish], results: list[str]) -> Said:
        return self._say(
            {"role": "tool", "tool_call_id": wish.id, "content": result}
            for wish, result in zip(wishes, results, strict=True)
        )

    def close(self) -> None:
        self._client.close()

    def _say(self, messages: Any) -> Said:
        self._messages += messages
        completions = self._client.chat.completions
        if self._streams:
            usage = {"include_usage": True}
            with completions.stream(
                messages=self._messages, stream_options=usage, **self._call
            ) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = completions.create(messages=self._messages, **self._call).choices[0].message
        calls = message.tool_calls or []
        said: dict[str, Any] = {"role": "assistant", "content": message.content}
        if calls:
            said["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in calls
            ]
        self._messages.append(said)
        return Said(
            message.content or "",
            [Wish(c.id, c.function.name, json.loads(c.function.arguments)) for c in calls],
        )


class OpenAIResponses:
    """Responses, kept by the server: https://platform.openai.com/docs/api-reference/responses.

    Each call names the response before it, and sends only what is new.
    """

    def __init__(self, line: Line, system: str, tools: tuple[str, ...], *, streams: bool) -> None:
        self.heard: list[dict[str, str]] = []
        self._client = _openai(line, self)
        self._streams = streams
        self._previous: str | None = None
        self._call: dict[str, Any] = {
            "model": "gpt-5.5",
            "instructions": system,
            "tools": [
                {"type": "function", "name": name, "parameters": _SCHEMA, "strict": False}
                for name in tools
            ],
        }

    def ask(self, text: str) -> Said:
        return self._say([{"role": "user", "content": text}])

    def give(self, wishes: list[Wish], results: list[str]) -> Said:
        return self._say(
            [
                {"type": "function_call_output", "call_id": wish.id, "output": result}
                for wish, result in zip(wishes, results, strict=True)
            ]
        )

    def close(self) -> None:
        self._client.close()

    def _say(self, items: list[Any]) -> Said:
        call: dict[str, Any] = self._call | {"input": items}
        if self._previous:
            call["previous_response_id"] = self._previous
        if self._streams:
            with self._client.responses.stream(**call) as stream:
                answer: Any = stream.get_final_response()
        else:
            answer = self._client.responses.create(**call)
        self._previous = answer.id
        calls = [item for item in answer.output if item.type == "function_call"]
        return Said(
            answer.output_text,
            [Wish(call.call_id, call.name, json.loads(call.arguments)) for call in calls],
        )


class Gemini:
    """GenerateContent: https://ai.google.dev/api/generate-content."""

    def __init__(self, line: Line, system: str, tools: tuple[str, ...], *, streams: bool) -> None:
        self.heard: list[dict[str, str]] = []
        options = gemini.HttpOptions(
            base_url=line.base_url or "https://generativelanguage.googleapis.com",
            headers=dict(line.headers),
            client_args=line.options(self),
        )
        self._client = genai.Client(api_key=line.key, http_options=options)
        self._streams = streams
        self._contents: list[Any] = []
        functions: list[Any] = [{"name": n, "parameters_json_schema": _SCHEMA} for n in tools]
        self._config = gemini.GenerateContentConfig(
            system_instruction=system or None,
            tools=[gemini.Tool(function_declarations=functions)] if tools else None,
            automatic_function_calling=gemini.AutomaticFunctionCallingConfig(disable=True),
        )

    def ask(self, text: str) -> Said:
        return self._say([gemini.Part(text=text)])

    def give(self, wishes: list[Wish], results: list[str]) -> Said:
        return self._say(
            [
                gemini.Part.from_function_response(name=wish.name, response={"output": result})
                for wish, result in zip(wishes, results, strict=True)
            ]
        )

    def close(self) -> None:
        self._client.close()

    def _say(self, parts: list[gemini.Part]) -> Said:
        self._contents.append(gemini.Content(role="user", parts=parts))
        call: dict[str, Any] = {
            "model": "gemini-2.5-flash",
            "contents": self._contents,
            "config": self._config,
        }
        models = self._client.models
        if self._streams:
            answers = list(models.generate_content_stream(**call))
        else:
            answers = [models.generate_content(**call)]
        said = [part for answer in answers for part in answer.parts or []]
        self._contents.append(gemini.Content(role="model", parts=said))
        calls = [part.function_call for part in said if part.function_call]
        return Said(
            "".join(part.text for part in said if part.text),
            [Wish(call.id or "", call.name or "", dict(call.args or {})) for call in calls],
        )


def _openai(line: Line, chat: Chat) -> openai.OpenAI:
    return openai.OpenAI(
        api_key=line.key,
        base_url=(line.base_url or "https://api.openai.com") + "/v1",
        default_headers=line.headers,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(**line.options(chat)),
    )


CHATS = {
    "anthropic": Anthropic,
    "openai_chat": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "gemini": Gemini,
}
