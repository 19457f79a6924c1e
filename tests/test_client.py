"""The session client: providers, tools, streams, errors, and sessions that were recorded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from callerid import Traces
from callerid.again.endpoints import NO_KEY
from callerid.again.speech import NOT_RUN
from callerid.archive.transcript import Answered, Asked, Other, Thought, Words
from callerid.client import Agent, AgentError, Message, Session, tool, translate
from callerid.client.errors import AgentError as AgentErrorOfErrors
from callerid.turn import Role
from lab import Answer, FakeProvider, Proxy, ToolCall, newest_text, tool_results
from lab import Asked as Request
from office import anthropic_reply, office, text

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
KEY = "sk-lab-0123456789abcdef"
MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}


def model(asked: Request) -> Answer:
    said = newest_text(asked)
    if results := tool_results(asked):
        return Answer(f"The tools say: {', '.join(results)}.")
    if said.startswith("Refuse"):
        return Answer("The lab refuses this.", status=400)
    if said.startswith("Use "):
        return Answer("I look.", (ToolCall(said.removeprefix("Use "), {"city": "Brest"}),))
    return Answer(f"Answer {asked.serial} to: {said}")


class Place(NamedTuple):
    """A fake provider behind a real mitmdump."""

    provider: FakeProvider
    proxy: Proxy

    def traces(self) -> Traces:
        return Traces(self.proxy.traces)


@pytest.fixture(scope="module")
def place(addon_script: Path) -> Iterator[Place]:
    options: dict[str, str | list[str]] = {}
    with (
        FakeProvider(model) as provider,
        Proxy(addon_script, provider=provider, options=options) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in KEYS:
            patch.setenv(name, KEY)
        yield Place(provider, proxy)


@pytest.fixture
def agent(place: Place) -> Callable[..., Agent]:
    """Makes agents whose calls go through the proxy."""

    def make(provider: str = "openai", **options: Any) -> Agent:
        model = options.pop("model", MODELS.get(provider, "m"))
        options = {"proxy": place.proxy.url, "authority": place.proxy.ca_file} | options
        return Agent(provider, model, **options)

    return make


@tool
def weather(city: str) -> str:
    """Say what the weather is in a city."""
    return f"rain in {city}"


@tool(name="tide", description="When the tide is high in a port.")
async def high_tide(city: str) -> dict[str, str]:
    await asyncio.sleep(0)
    return {"port": city, "at": "20:12"}


def settled(place: Place, session_id: str, calls: int) -> list[Any]:
    """The calls of a session, as soon as so many are on record."""
    gate = threading.Event()
    for _ in range(100):
        with place.traces() as traces:
            found = [each for each in traces.sessions() if each.session_id == session_id]
            done = [call for one in found for call in one.calls if call.state != "in_flight"]
            if len(done) >= calls:
                return done
        gate.wait(0.1)
    raise AssertionError(f"{calls} calls of {session_id} are not on record")


@pytest.mark.parametrize("provider", MODELS)
def test_each_provider_is_spoken_to_in_its_own_dialect(
    place: Place, agent: Callable[..., Agent], provider: str
) -> None:
    session = agent(provider, tools=[weather, high_tide]).session(system="You know ports.")

    first = session.run("Use weather", max_tokens=300)
    second = session.run("And now?")
    streamed = list(session.stream("Use tide"))

    assert first.text.startswith("The tools say: ")
    assert "rain in Brest" in first.text
    assert second.text.endswith("to: And now?")
    assert "".join(e.text for e in streamed if e.type == "text_delta").startswith("I look.")
    assert [(e.name, e.arguments) for e in streamed if e.type == "tool_call"] == [
        ("tide", {"city": "Brest"})
    ]
    assert streamed[-1].response is not None
    assert "20:12" in streamed[-1].response.text
    assert first.usage.input_tokens == 240
    calls = settled(place, session.session_id, 5)
    assert {call.dialect for call in calls} == {
        {"openai": "openai_chat", "anthropic": "anthropic", "gemini": "gemini"}[provider]
    }
    assert {call.because for call in calls} == {"header"}
    with place.traces() as traces:
        recorded = traces.session(session.session_id)
        assert recorded.system == "You know ports."
        assert [m.text for m in recorded.messages if m.text] == [
            m.text for m in session.messages if m.text
        ]


def test_any_base_url_that_speaks_as_openai_does(agent: Callable[..., Agent]) -> None:
    with FakeProvider(model, tls=False) as local:
        there = agent("my-own", base_url=f"{local.url}/v1", model="llama")

        answer = there.session("conversation-of-mine").run("Hello")

    assert answer.text.endswith("to: Hello")
    (asked,) = local.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.header("authorization") == f"Bearer {NO_KEY}"
    assert asked.header("x-callerid-session-id") == "conversation-of-mine"  # a gateway is told


def test_a_public_provider_is_not_told_our_ids(place: Place, agent: Callable[..., Agent]) -> None:
    agent().session("secret-of-ours").run("Hello")

    asked = place.provider.asked[-1]
    assert not [name for name, _ in asked.headers if name.startswith("x-callerid")]


def test_runs_in_a_loop_of_the_programs_own_and_out_of_it(agent: Callable[..., Agent]) -> None:
    session = agent(tools=[high_tide]).session()

    async def talk() -> list[str]:
        first = await session.run_async("Use tide")
        events = [event async for event in await session.stream_async("And then?")]
        return [first.text, *(event.type for event in events[-1:])]

    before = session.run("Hello").text
    assert asyncio.run(talk()) == [
        'The tools say: {"port":"Brest","at":"20:12"}.', "done",
    ]  # fmt: skip
    assert session.run("Bye").text != before
    assert len(session.messages) == 10


def test_many_sessions_at_once_stay_apart(agent: Callable[..., Agent]) -> None:
    shared = agent()

    async def ask(number: int) -> list[str]:
        session = shared.session(f"at-once-{number}")
        return [(await session.run_async(f"Question {number}.{at}")).text for at in range(3)]

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(*map(ask, range(8)))

    for number, answers in enumerate(asyncio.run(all_of_them())):
        assert [text.partition("to: ")[2] for text in answers] == [
            f"Question {number}.{at}" for at in range(3)
        ]


@pytest.mark.parametrize("provider", MODELS)
def test_what_a_provider_refuses_leaves_the_history_as_it_was(
    place: Place, agent: Callable[..., Agent], provider: str
) -> None:
    session = agent(provider).session()
    session.run("Hello")
    before = session.messages

    with pytest.raises(AgentError, match="The lab refuses this") as refused:
        session.run("Refuse this")
    with pytest.raises(AgentError, match="The lab refuses this"):
        list(session.stream("Refuse that"))

    assert refused.value.status == 400
    assert session.messages == before
    assert session.run("And now?").text.endswith("to: And now?")
    assert [call.state for call in settled(place, session.session_id, 4)] == [
        "ok", "error", "error", "ok",
    ]  # fmt: skip


def test_nobody_at_the_other_end_is_an_agent_error() -> None:
    session = Agent("own", "m", base_url="http://127.0.0.1:9/v1", max_tokens=5).session()

    with pytest.raises(AgentError):
        session.run("Hello")

    assert session.messages == []
    assert AgentError is AgentErrorOfErrors


def test_a_tool_that_raises_does_so_to_whoever_asked(agent: Callable[..., Agent]) -> None:
    @tool
    def broken(city: str) -> str:
        """Fail."""
        raise ZeroDivisionError(city)

    session = agent(tools=[broken]).session()

    with pytest.raises(ZeroDivisionError, match="Brest"):
        session.run("Use broken")
    assert session.messages == []
    assert session.run("Hello").text.endswith("to: Hello")


def test_a_stream_that_is_left_leaves_the_history_as_it_was(agent: Callable[..., Agent]) -> None:
    session = agent().session()

    for event in session.stream("One two three"):
        assert event.type == "text_delta"
        break

    assert session.messages == []
    assert session.run("Four").text.endswith("to: Four")


def test_one_turn_at_a_time(agent: Callable[..., Agent]) -> None:
    session = agent().session()
    events = session.stream("One two three")
    next(events)

    with pytest.raises(AgentError, match="has not yet ended its turn"):
        session.run("Four")
    assert list(events)[-1].type == "done"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)

    with pytest.raises(AgentError, match="there is no key for groq: set GROQ_API_KEY"):
        Agent("groq", "m").session().run("Hello")
    with pytest.raises(AgentError, match=r"expected one of anthropic, openai, .* 'nobody'"):
        Agent("nobody", "m").session().run("Hello")
    with pytest.raises(TypeError, match="there is no setting 'temprature'"):
        Agent("groq", "m", temprature=0)
    for id in ("with\nline", "ä", "x" * 257):
        with pytest.raises(ValueError, match="expected a session id"):
            Agent("groq", "m").session(id)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conversation that ends with a tool call that nobody has answered."""
    path = tmp_path_factory.mktemp("client") / "traces.db"
    wish = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Brest"}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    said: list[Any] = [{"role": "user", "content": "Is it raining in Brest?"}]
    headers = (("x-session-id", "rainy"),)
    with office(path) as at:
        body = {"model": "claude-sonnet-4-6", "system": "You know ports.", "messages": said}
        reply = anthropic_reply(thought, text("I look."), wish)
        at.call("/v1/messages", body, reply, host="api.anthropic.com", headers=headers)
    return path


@pytest.mark.parametrize("provider", MODELS)
def test_a_session_on_record_goes_on_with_whatever_provider(
    place: Place, agent: Callable[..., Agent], recorded: Path, provider: str
) -> None:
    with Traces(recorded) as traces:
        session = agent(provider).resume(traces.session("rainy"))
        again = Session.from_dict(traces.session("rainy").to_dict(), agent(provider))

    answer = session.run(f"Never mind, says {provider}.")

    assert session.session_id == again.session_id == "rainy"
    assert session.system == again.system == "You know ports."
    assert answer.text
    sent = place.provider.asked[-1].body.decode()
    assert "Is it raining in Brest?" in sent
    assert f"Never mind, says {provider}." in sent
    assert NOT_RUN in sent
    assert "Hm." not in sent  # a thought counts only with its provider's signature
    assert settled(place, "rainy", 1)[-1].because == "header"


def test_what_the_library_said_itself_comes_back_whole(agent: Callable[..., Agent]) -> None:
    session = agent(tools=[weather]).session()
    session.run("Use weather")

    kept = json.loads(json.dumps(session.to_dict()))
    back = Session.from_dict(kept, session.agent)

    assert back.messages == session.messages
    assert translate.said(back.messages) == translate.said(session.messages)
    assert kept["model"] == "gpt-5.5"
    assert [m.role for m in back.messages] == ["user", "assistant", "tool", "assistant"]


def test_a_history_of_whatever_pieces_can_be_told() -> None:
    call, other = Asked("", "weather", {"city": "Brest"}), Asked("", "tide", {})
    history = [
        Message(Role.USER, (Words("Look at this"), Other("image"))),
        Message(Role.ASSISTANT, (Thought("Hm."), Words("I look."))),
        Message(Role.ASSISTANT, (call, other)),
        Message(Role.TOOL, (Answered("tide", "20:12"),)),
        Message(Role.TOOL, (Answered("weather", "rain"),)),
        Message(Role.SYSTEM, (Words("It is noon."),)),
    ]

    told = translate.said(history)

    assert [m.kind for m in told] == ["request", "response", "request"]
    assert [part.part_kind for part in told[1].parts] == ["text", "tool-call", "tool-call"]
    asked = [part for part in told[1].parts if part.part_kind == "tool-call"]
    answers = told[2].parts[:2]
    assert {(part.tool_name, part.tool_call_id) for part in answers} == {
        (part.tool_name, part.tool_call_id) for part in asked
    }
    assert all(NOT_RUN not in str(part) for part in answers)


def test_only_a_session_can_be_gone_on_with(agent: Callable[..., Agent]) -> None:
    with pytest.raises(TypeError, match=r"expected a session on record, .* got 'trunk'"):
        agent().resume("trunk")


def test_forks_go_their_own_ways_from_any_message(agent: Callable[..., Agent]) -> None:
    session = agent().session("trunk")
    session.run("One")
    session.run("Two")

    with pytest.raises(ValueError, match="expected one of 4 messages, got 99"):
        session.fork(at=99)
    branch = session.fork(at=2)
    branch.run("Three")

    assert [m.text for m in branch.messages][::2] == ["One", "Three"]
    assert [m.text for m in session.messages][::2] == ["One", "Two"]
    assert branch.parent_id == "trunk"
    assert Session.from_dict(branch.to_dict(), branch.agent).metadata == {
        "relation": "fork", "fork_point": 2, "root": "trunk",
    }  # fmt: skip


def test_nobody_who_does_not_ask_for_it_loads_it() -> None:
    watched = ("callerid.client", "callerid.again", "pydantic_ai", "openai", "anthropic", "google")
    look = f"; print([m for m in sys.modules if m.startswith({watched!r})])"
    loaded = [
        subprocess.run(
            [sys.executable, "-c", f"import sys, {what}{look}"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for what in (
            "callerid", "callerid.proxy.addon", "callerid.proxy.setup", "callerid.commands.cli",
        )
    ]  # fmt: skip

    assert [each for each in loaded if "pydantic_ai" in each or "callerid.client" in each] == []
    assert all("openai'" not in each and "anthropic'" not in each for each in loaded)


def test_without_the_library_it_says_how_to_have_it() -> None:
    program = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "try: import callerid.client\n"
        "except ImportError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "pip install 'callerid[client]'" in result.stdout
