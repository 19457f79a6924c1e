"""Strands: an orchestrator whose tool is an agent made anew each time; two dialects in turn."""

from strands import Agent, tool
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> OpenAIModel | AnthropicModel:
    if number % 2:
        url = at(number, role, name, steps=steps)
        return OpenAIModel(client_args={"api_key": KEY, "base_url": url}, model_id=MODEL)
    url = at(number, role, name, steps=steps, version="")
    client = {"api_key": KEY, "base_url": url}
    return AnthropicModel(client_args=client, model_id=MODEL, max_tokens=1000)


def converse(number: int) -> None:
    @tool
    def research_assistant(query: str) -> str:
        """Process and respond to research related queries."""
        helper = Agent(
            model=model(number, HELPER, "researcher", 1),
            system_prompt="You are a specialized research assistant.",
            tools=[search],
            callback_handler=None,
        )
        return str(helper(query))

    orchestrator = Agent(
        model=model(number, MAIN, "orchestrator", 2),
        system_prompt="You are the orchestrator.",
        tools=[research_assistant, search],
        callback_handler=None,
    )
    for text in (TASKS[number], *AFTERWARDS):
        orchestrator(text)


side_by_side(converse)
