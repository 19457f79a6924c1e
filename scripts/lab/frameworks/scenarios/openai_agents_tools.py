"""OpenAI Agents SDK: an agent as a tool of another; Chat Completions and Responses in turn."""

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side_in_loop

set_tracing_disabled(True)


@function_tool
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def agent(number: int, role: str, name: str, instructions: str, tools: list) -> Agent:
    kind = OpenAIResponsesModel if number % 2 else OpenAIChatCompletionsModel
    client = AsyncOpenAI(base_url=at(number, role, name, steps=1), api_key=KEY)
    model = kind(model=MODEL, openai_client=client)
    return Agent(name=name, instructions=instructions, model=model, tools=tools)


async def converse(number: int) -> None:
    writer = agent(number, HELPER, "writer", "You write reports.", [search])
    ask_writer = writer.as_tool("ask_writer", "Ask the writer for a text")
    chief = agent(number, MAIN, "chief", "You lead the work.", [search, ask_writer])
    session = SQLiteSession(f"session-{number}")
    for text in (TASKS[number], *AFTERWARDS):
        await Runner.run(chief, text, session=session)


side_by_side_in_loop(converse)
