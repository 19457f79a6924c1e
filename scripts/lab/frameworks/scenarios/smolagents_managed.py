"""smolagents: an agent that writes code has a managed agent that calls tools."""

from smolagents import CodeAgent, OpenAIServerModel, ToolCallingAgent, tool
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool
def search(query: str) -> str:
    """Search the web.

    Args:
        query: what to search for
    """
    return found(query)


def model(number: int, role: str, agent: str, steps: int = 2) -> OpenAIServerModel:
    return OpenAIServerModel(MODEL, api_base=at(number, role, agent, steps=steps), api_key=KEY)


def converse(number: int) -> None:
    helper = ToolCallingAgent(
        tools=[search],
        model=model(number, HELPER, "searcher", 1),
        max_steps=4,
        name="web_search_agent",
        description="Runs web searches for you.",
        verbosity_level=0,
    )
    lead = CodeAgent(
        tools=[],
        model=model(number, MAIN, "lead"),
        managed_agents=[helper],
        max_steps=5,
        verbosity_level=0,
    )
    lead.run(TASKS[number])
    lead.run(AFTERWARDS[0], reset=False)


side_by_side(converse)
