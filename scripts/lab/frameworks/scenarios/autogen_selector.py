"""AutoGen: a model chooses who speaks next, and is shown the whole conversation as one message."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import SelectorGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient
from talk import KEY, MODEL, PEER, TASKS, at, found, side_by_side_in_loop

ABILITIES = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "family": "unknown",
    "structured_output": True,
}


async def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, name: str) -> OpenAIChatCompletionClient:
    url = at(number, PEER, name, steps=1)
    return OpenAIChatCompletionClient(model=MODEL, base_url=url, api_key=KEY, model_info=ABILITIES)


async def converse(number: int) -> None:
    planner = AssistantAgent(
        "planner",
        model(number, "planner"),
        description="plans",
        system_message="You plan the work.",
    )
    searcher = AssistantAgent(
        "searcher",
        model(number, "searcher"),
        description="searches",
        tools=[search],
        system_message="You search.",
    )
    team = SelectorGroupChat(
        [planner, searcher],
        model_client=model(number, "selector"),
        termination_condition=MaxMessageTermination(8),
    )
    await team.run(task=TASKS[number])


side_by_side_in_loop(converse)
