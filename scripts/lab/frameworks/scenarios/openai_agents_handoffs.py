"""OpenAI Agents SDK: an agent hands the conversation over to another, with all that was said."""

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from talk import AFTERWARDS, HANDED, KEY, MAIN, MODEL, TASKS, at, found, side_by_side_in_loop

set_tracing_disabled(True)


@function_tool
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str) -> OpenAIResponsesModel | OpenAIChatCompletionsModel:
    kind = OpenAIResponsesModel if number % 2 else OpenAIChatCompletionsModel
    client = AsyncOpenAI(base_url=at(number, role, name, steps=1), api_key=KEY)
    return kind(model=MODEL, openai_client=client)


async def converse(number: int) -> None:
    billing = Agent(
        name="Billing",
        instructions="You do the billing.",
        model=model(number, HANDED, "billing"),
        tools=[search],
    )
    triage = Agent(
        name="Triage",
        instructions="You decide who helps.",
        model=model(number, MAIN, "triage"),
        handoffs=[billing],
    )
    result = await Runner.run(triage, TASKS[number])
    for text in AFTERWARDS:
        said = [*result.to_input_list(), {"role": "user", "content": text}]
        result = await Runner.run(result.last_agent, said)


side_by_side_in_loop(converse)
