"""Haystack: an agent that asks another in a tool."""

from typing import Annotated

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool
def search(query: Annotated[str, "what to search for"]) -> str:
    """Search the web."""
    return found(query)


def generator(number: int, role: str, name: str, steps: int) -> OpenAIChatGenerator:
    url = at(number, role, name, steps=steps)
    return OpenAIChatGenerator(model=MODEL, api_base_url=url, api_key=Secret.from_token(KEY))


def converse(number: int) -> None:
    helper = Agent(
        chat_generator=generator(number, HELPER, "researcher", 1),
        system_prompt="You research.",
        tools=[search],
    )

    @tool
    def research(task: Annotated[str, "what to find out"]) -> str:
        """Ask the research agent."""
        said = helper.run(messages=[ChatMessage.from_user(task)])["messages"]
        return said[-1].text or "nothing"

    lead = Agent(
        chat_generator=generator(number, MAIN, "lead", 2),
        system_prompt="You lead.",
        tools=[research, search],
    )
    history: list[ChatMessage] = []
    for text in (TASKS[number], *AFTERWARDS):
        said = lead.run(messages=[*history, ChatMessage.from_user(text)])["messages"]
        history = [one for one in said if one.role != "system"]


side_by_side(converse)
