"""Deep Agents: a researcher with a critic as sub-agent; Chat Completions and Messages in turn."""

from deepagents import create_deep_agent
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> ChatOpenAI | ChatAnthropic:
    if number % 2:
        return ChatOpenAI(model=MODEL, api_key=KEY, base_url=at(number, role, name, steps=steps))
    url = at(number, role, name, steps=steps, version="")
    return ChatAnthropic(model=MODEL, api_key=KEY, base_url=url)


def converse(number: int) -> None:
    critic = {
        "name": "critic",
        "description": "critiques a report",
        "system_prompt": "You are a dedicated editor, critique reports.",
        "model": model(number, HELPER, "critic", 1),
    }
    lead = create_deep_agent(
        model=model(number, MAIN, "researcher", 3),
        tools=[search],
        system_prompt="You are an expert researcher.",
        checkpointer=InMemorySaver(),
        subagents=[critic],
    )
    thread = {"configurable": {"thread_id": "1"}, "recursion_limit": 60}
    for text in (TASKS[number], *AFTERWARDS):
        lead.invoke({"messages": [{"role": "user", "content": text}]}, thread)


side_by_side(converse)
