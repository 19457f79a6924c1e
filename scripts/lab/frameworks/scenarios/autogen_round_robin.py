"""AutoGen: a writer and a critic take turns; each is told what the other has said."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient
from talk import AFTERWARDS, KEY, MODEL, PEER, TASKS, at, found, side_by_side_in_loop

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
    writer = AssistantAgent(
        "writer",
        model(number, "writer"),
        tools=[search],
        system_message="You write.",
        reflect_on_tool_use=True,
    )
    critic = AssistantAgent(
        "critic",
        model(number, "critic"),
        system_message="You critique the writer. Say APPROVE when done.",
    )
    team = RoundRobinGroupChat([writer, critic], termination_condition=MaxMessageTermination(9))
    await team.run(task=TASKS[number])
    await team.run(task=AFTERWARDS[0])


side_by_side_in_loop(converse)
