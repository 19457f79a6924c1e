"""The laboratory itself: the vendors' SDKs take the fake provider for the real one."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import zstandard
from google import genai
from google.genai import errors as gemini_errors
from google.genai import types as gemini

from lab import (
    Answer,
    Asked,
    FakeProvider,
    Proxy,
    ToolCall,
    Usage,
    echo,
    newest_text,
    tool_results,
)

WEATHER = ToolCall("get_weather", {"city": 'Paris "é"', "days": 2})
TIME = ToolCall("get_time", {})
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
USAGE = Usage()
DEADLINE_SECONDS = 10.0


def assistant(asked: Asked) -> Answer:
    """Asks two tools about the weather, repeats what they said, fails where told to, or echoes."""
    if results := tool_results(asked):
        return Answer("The tools said: " + ", ".join(results))
    text = newest_text(asked)
    if text.startswith("fail "):
        return Answer("You told me to.", status=int(text.removeprefix("fail ")))
    if "weather" in text:
        return Answer("Let me look.", (WEATHER, TIME))
    return echo(asked)


@dataclass(frozen=True, slots=True)
class Route:
    """A way from a client to the provider."""

    provider: FakeProvider
    ca_file: Path
    proxy: str | None = None
    vendors_hosts: bool = False

    def base(self, vendor_host: str) -> str:
        return f"https://{vendor_host}" if self.vendors_hosts else self.provider.url

    def client_options(self) -> dict[str, Any]:
        verify = ssl.create_default_context(cafile=self.ca_file)
        return {"verify": verify, "proxy": self.proxy, "trust_env": False}

    def anthropic(self) -> anthropic.Anthropic:
        client = anthropic.DefaultHttpxClient(**self.client_options())
        base = self.base("api.anthropic.com")
        return anthropic.Anthropic(api_key="k", base_url=base, max_retries=0, http_client=client)

    def openai(self) -> openai.OpenAI:
        client = openai.DefaultHttpxClient(**self.client_options())
        base = self.base("api.openai.com") + "/v1"
        return openai.OpenAI(api_key="k", base_url=base, max_retries=0, http_client=client)

    def gemini(self) -> genai.Client:
        options = gemini.HttpOptions(
            base_url=self.base("generativelanguage.googleapis.com"),
            client_args=self.client_options(),
        )
        return genai.Client(api_key="k", http_options=options)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(assistant) as provider:
        yield provider


@pytest.fixture(scope="module")
def proxy(provider: FakeProvider) -> Iterator[Proxy]:
    with Proxy(provider=provider) as proxy:
        yield proxy


@pytest.fixture(params=["direct", "proxied", "vendors_hosts"])
def route(request: pytest.FixtureRequest, provider: FakeProvider, proxy: Proxy) -> Route:
    if request.param == "direct":
        return Route(provider, provider.ca_file)
    return Route(provider, proxy.ca_file, proxy.url, request.param == "vendors_hosts")


def as_pairs(*calls: ToolCall) -> list[tuple[str, dict[str, object]]]:
    return [(call.name, call.arguments) for call in calls]


def plain_client(route: Route) -> httpx.Client:
    return httpx.Client(**route.client_options())


# Anthropic


ANTHROPIC: dict[str, Any] = {
    "model": "claude-lab",
    "max_tokens": 100,
    "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
}


def ask_anthropic(route: Route, messages: list[Any], *, streams: bool) -> Any:
    with route.anthropic() as client:
        if not streams:
            return client.messages.create(messages=messages, **ANTHROPIC)
        with client.messages.stream(messages=messages, **ANTHROPIC) as stream:
            return stream.get_final_message()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_anthropic_sdk_completes_a_tool_round_trip(route: Route, streams: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "How is the weather?"}]

    first = ask_anthropic(route, messages, streams=streams)
    calls = [block for block in first.content if block.type == "tool_use"]
    messages.append({"role": "assistant", "content": first.content})
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name}: fine"}
        for call in calls
    ]
    messages.append({"role": "user", "content": results})
    second = ask_anthropic(route, messages, streams=streams)

    assert first.content[0].text == "Let me look."
    assert [(call.name, call.input) for call in calls] == as_pairs(WEATHER, TIME)
    assert first.stop_reason == "tool_use"
    assert second.content[0].text == "The tools said: get_weather: fine, get_time: fine"
    assert second.stop_reason == "end_turn"
    assert len({first.id, second.id, *(call.id for call in calls)}) == 4


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_anthropic_sdk_reads_the_usage(route: Route, streams: bool) -> None:
    usage = ask_anthropic(route, [{"role": "user", "content": "Hello"}], streams=streams).usage

    assert usage.input_tokens == USAGE.input - USAGE.cache_read - USAGE.cache_write
    assert usage.cache_read_input_tokens == USAGE.cache_read
    assert usage.cache_creation_input_tokens == USAGE.cache_write
    assert usage.output_tokens == USAGE.output


def test_the_anthropic_sdk_streams_text_in_several_chunks(route: Route) -> None:
    messages: list[Any] = [{"role": "user", "content": "one  two\nthree"}]

    with (
        route.anthropic() as client,
        client.messages.stream(messages=messages, **ANTHROPIC) as s,
    ):
        chunks = list(s.text_stream)

    assert "".join(chunks).endswith(" to: one  two\nthree")
    assert len(chunks) == 6


def test_the_anthropic_sdk_counts_tokens(route: Route) -> None:
    with route.anthropic() as client:
        count = client.messages.count_tokens(
            model="claude-lab", messages=[{"role": "user", "content": "Hello"}]
        )

    assert count.input_tokens == USAGE.input


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.APIStatusError),
    ],
)
def test_the_anthropic_sdk_raises_its_own_errors(
    route: Route, status: int, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error) as raised:
        ask_anthropic(route, [{"role": "user", "content": f"fail {status}"}], streams=False)

    assert raised.value.status_code == status
    assert "You told me to." in raised.value.message


# OpenAI Chat Completions


CHAT: dict[str, Any] = {
    "model": "gpt-lab",
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
}


def ask_chat(route: Route, messages: list[Any], *, streams: bool) -> Any:
    with route.openai() as client:
        if not streams:
            return client.chat.completions.create(messages=messages, **CHAT)
        with client.chat.completions.stream(
            messages=messages, stream_options={"include_usage": True}, **CHAT
        ) as stream:
            return stream.get_final_completion()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_openai_sdk_completes_a_tool_round_trip_in_chat(route: Route, streams: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "How is the weather?"}]

    first = ask_chat(route, messages, streams=streams)
    message = first.choices[0].message
    calls = [
        {"id": call.id, "type": "function"}
        | {
            "function": {
                "name": call.function.name,
                "arguments": call.function.arguments,
            }
        }
        for call in message.tool_calls
    ]
    messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
    messages += [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": f"{call.function.name}: fine",
        }
        for call in message.tool_calls
    ]
    second = ask_chat(route, messages, streams=streams)

    functions = [call["function"] for call in calls]
    assert message.content == "Let me look."
    assert [(f["name"], json.loads(f["arguments"])) for f in functions] == as_pairs(WEATHER, TIME)
    assert first.choices[0].finish_reason == "tool_calls"
    answer = second.choices[0]
    assert answer.message.content == "The tools said: get_weather: fine, get_time: fine"
    assert answer.finish_reason == "stop"
    assert len({first.id, second.id, *(call["id"] for call in calls)}) == 4


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_openai_sdk_reads_the_usage_in_chat(route: Route, streams: bool) -> None:
    usage = ask_chat(route, [{"role": "user", "content": "Hello"}], streams=streams).usage

    assert (usage.prompt_tokens, usage.completion_tokens) == (USAGE.input, USAGE.output)
    assert usage.prompt_tokens_details.cached_tokens == USAGE.cache_read
    assert usage.completion_tokens_details.reasoning_tokens == USAGE.reasoning


def test_chat_streams_no_usage_that_was_not_asked_for(route: Route) -> None:
    messages: list[Any] = [{"role": "user", "content": "Hello"}]

    with route.openai() as client:
        stream = client.chat.completions.create(model="m", messages=messages, stream=True)
        chunks = list(stream)

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_openai_sdk_raises_its_own_errors(
    route: Route, api: str, status: int, error: type[openai.APIStatusError]
) -> None:
    ask = ask_chat if api == "chat" else ask_responses

    with pytest.raises(error) as raised:
        ask(route, [{"role": "user", "content": f"fail {status}"}], streams=False)

    assert raised.value.status_code == status
    assert "You told me to." in raised.value.message


# OpenAI Responses


RESPONSES: dict[str, Any] = {
    "model": "gpt-lab",
    "tools": [
        {
            "type": "function",
            "name": "get_weather",
            "parameters": SCHEMA,
            "strict": False,
        }
    ],
}


def ask_responses(route: Route, given: Any, *, streams: bool, **more: Any) -> Any:
    with route.openai() as client:
        if not streams:
            return client.responses.create(input=given, **RESPONSES, **more)
        with client.responses.stream(input=given, **RESPONSES, **more) as stream:
            return stream.get_final_response()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_openai_sdk_completes_a_tool_round_trip_in_responses(
    route: Route, streams: bool
) -> None:
    first = ask_responses(route, "How is the weather?", streams=streams)
    calls = [item for item in first.output if item.type == "function_call"]
    results = [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": f"{call.name}: fine",
        }
        for call in calls
    ]
    second = ask_responses(route, results, streams=streams, previous_response_id=first.id)

    assert first.output_text == "Let me look."
    assert [(c.name, json.loads(c.arguments)) for c in calls] == as_pairs(WEATHER, TIME)
    assert second.output_text == "The tools said: get_weather: fine, get_time: fine"
    assert second.previous_response_id == first.id
    assert first.status == second.status == "completed"
    assert len({first.id, second.id, *(call.call_id for call in calls)}) == 4


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_openai_sdk_reads_the_usage_in_responses(route: Route, streams: bool) -> None:
    usage = ask_responses(route, "Hello", streams=streams).usage

    assert (usage.input_tokens, usage.output_tokens) == (USAGE.input, USAGE.output)
    assert usage.input_tokens_details.cached_tokens == USAGE.cache_read
    assert usage.output_tokens_details.reasoning_tokens == USAGE.reasoning


def test_the_events_of_a_response_are_those_that_the_sdk_knows(route: Route) -> None:
    with route.openai() as client:
        stream = client.responses.create(input="How is the weather?", stream=True, **RESPONSES)
        events = list(stream)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        assert type(event).model_validate(event.to_dict()) == event  # the SDK itself checks nothing


# Gemini


def ask_gemini(route: Route, contents: list[gemini.Content], *, streams: bool) -> list[Any]:
    """The chunks of the answer; one, if it does not stream."""
    asked: dict[str, Any] = {"model": "gemini-lab", "contents": contents}
    client = route.gemini()
    try:
        if not streams:
            return [client.models.generate_content(**asked)]
        return list(client.models.generate_content_stream(**asked))
    finally:
        client.close()


def user(*parts: gemini.Part) -> gemini.Content:
    return gemini.Content(role="user", parts=list(parts))


def parts_of(chunks: list[Any]) -> list[gemini.Part]:
    return [part for chunk in chunks for part in chunk.candidates[0].content.parts]


def text_of(chunks: list[Any]) -> str:
    return "".join(part.text or "" for part in parts_of(chunks))


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_gemini_sdk_completes_a_tool_round_trip(route: Route, streams: bool) -> None:
    contents = [user(gemini.Part.from_text(text="How is the weather?"))]

    first = ask_gemini(route, contents, streams=streams)
    calls = [part.function_call for part in parts_of(first) if part.function_call]
    contents.append(gemini.Content(role="model", parts=parts_of(first)))
    results = [
        gemini.Part.from_function_response(name=c.name, response={"result": f"{c.name}: fine"})
        for c in calls
    ]
    contents.append(user(*results))
    second = ask_gemini(route, contents, streams=streams)

    assert text_of(first) == "Let me look."
    assert [(call.name, call.args) for call in calls] == as_pairs(WEATHER, TIME)
    assert text_of(second) == "The tools said: get_weather: fine, get_time: fine"
    assert second[-1].candidates[0].finish_reason == gemini.FinishReason.STOP
    assert first[-1].response_id != second[-1].response_id


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_gemini_sdk_reads_the_usage(route: Route, streams: bool) -> None:
    chunks = ask_gemini(route, [user(gemini.Part.from_text(text="Hello"))], streams=streams)

    usage = chunks[-1].usage_metadata
    assert usage.prompt_token_count == USAGE.input
    assert usage.cached_content_token_count == USAGE.cache_read
    assert usage.candidates_token_count + usage.thoughts_token_count == USAGE.output


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, gemini_errors.ClientError), (503, gemini_errors.ServerError)],
)
def test_the_gemini_sdk_raises_its_own_errors(
    route: Route, status: int, error: type[gemini_errors.APIError]
) -> None:
    contents = [user(gemini.Part.from_text(text=f"fail {status}"))]

    with pytest.raises(error) as raised:
        ask_gemini(route, contents, streams=False)

    assert raised.value.code == status
    assert raised.value.message == "You told me to."


# The wire


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_client_that_accepts_an_encoding_gets_it_and_can_read_it(
    encoding: str, streams: bool
) -> None:
    body = {
        "model": "m",
        "stream": streams,
        "messages": [{"role": "user", "content": "Hello"}],
    }

    with (
        FakeProvider(encoding=encoding) as provider,
        plain_client(Route(provider, provider.ca_file)) as client,
    ):
        url = f"{provider.url}/v1/messages"
        packed = client.post(url, json=body)
        refused = client.post(url, json=body, headers={"accept-encoding": "identity"})

    assert packed.headers["content-encoding"] == encoding
    assert "content-encoding" not in refused.headers
    assert "Hello" in packed.text
    assert "Hello" in refused.text


def test_a_request_packed_with_zstd_is_read(provider: FakeProvider) -> None:
    body = json.dumps({"model": "m", "input": "Hello"}).encode()
    headers = {"content-encoding": "zstd"}

    with plain_client(Route(provider, provider.ca_file)) as client:
        packed = zstandard.ZstdCompressor().compress(body)
        answer = client.post(f"{provider.url}/v1/responses", content=packed, headers=headers)

    assert "to: Hello" in answer.text


def test_a_dialect_is_known_whatever_its_path_begins_with(
    provider: FakeProvider,
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

    with plain_client(Route(provider, provider.ca_file)) as client:
        answer = client.post(f"{provider.url}/some/gateway/v1/chat/completions", json=body)

    assert answer.json()["object"] == "chat.completion"


def test_an_unknown_path_is_not_found(provider: FakeProvider) -> None:
    with plain_client(Route(provider, provider.ca_file)) as client:
        answer = client.get(f"{provider.url}/v1/models")

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_a_provider_without_tls_speaks_plain_http() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

    with FakeProvider(tls=False) as provider, httpx.Client(trust_env=False) as client:
        answer = client.post(f"{provider.url}/v1/messages", json=body)

    assert answer.json()["content"][0]["text"] == "Answer 1 to: Hello"
    assert provider.asked[0].http_version == "1.1"


def test_a_provider_ends_though_it_holds_a_chunk_back() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

    async def never(asked: Asked, index: int) -> None:
        await asyncio.Event().wait()

    with httpx.Client(trust_env=False) as client:
        with FakeProvider(tls=False, before_chunk=never) as provider:
            request = client.build_request("POST", f"{provider.url}/v1/messages", json=body)
            answer = client.send(request, stream=True)

        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_an_answer_ends_when_its_client_leaves() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    ended = threading.Event()

    async def never(asked: Asked, index: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with FakeProvider(tls=False, before_chunk=never) as provider:
        with (
            httpx.Client(trust_env=False) as client,
            client.stream("POST", f"{provider.url}/v1/messages", json=body),
        ):
            pass

        assert ended.wait(DEADLINE_SECONDS)


# The proxy


def test_a_client_process_with_the_environment_of_the_proxy_goes_through_it(
    provider: FakeProvider, proxy: Proxy
) -> None:
    program = (
        "import httpx; print(httpx.post('https://api.anthropic.com/v1/messages',"
        " json={'model': 'm', 'messages': [{'role': 'user', 'content': 'Hello'}]}).text)"
    )

    output = subprocess.check_output(
        [sys.executable, "-c", program], env=proxy.environment(), text=True
    )

    assert "to: Hello" in output
    proxy.wait_for("POST https://localhost:[0-9]+/v1/messages")


def test_a_reverse_proxy_needs_no_settings_in_the_client(
    provider: FakeProvider,
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

    with Proxy(provider=provider, mode=f"reverse:{provider.url}") as proxy:
        with httpx.Client(trust_env=False) as client:
            answer = client.post(f"{proxy.url}/v1/messages", json=body)
        code = proxy.stop(signal.SIGTERM)

    assert answer.json()["content"][0]["text"].endswith("to: Hello")
    assert code == 0


def test_mitmweb_can_be_the_proxy(provider: FakeProvider) -> None:
    options = {"web_open_browser": "false", "web_host": "127.0.0.1", "web_port": "0"}

    with (
        Proxy(program="mitmweb", options=options) as proxy,
        plain_client(Route(provider, proxy.ca_file, proxy.url)) as client,
    ):
        answer = client.get(f"{provider.url}/nothing")

    assert answer.status_code == 404


def test_a_proxy_that_cannot_start_says_why(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise RuntimeError('the script is broken')")

    with pytest.raises(RuntimeError, match="the script is broken"), Proxy(script):
        pass
