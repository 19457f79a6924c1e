"""smolagents: an agent that plans every two steps, in calls of their own."""

from smolagents import CodeAgent, OpenAIServerModel, tool
from talk import KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool
def search(query: str) -> str:
    """Search the web.

    Args:
        query: what to search for
    """
    return found(query)


def model(number: int) -> OpenAIServerModel:
    url = at(number, MAIN, "planner", steps=3)
    return OpenAIServerModel(MODEL, api_base=url, api_key=KEY)


def converse(number: int) -> None:
    planner = CodeAgent(
        tools=[search],
        model=model(number),
        max_steps=5,
        verbosity_level=0,
        planning_interval=2,
    )
    planner.run(TASKS[number])


side_by_side(converse)
