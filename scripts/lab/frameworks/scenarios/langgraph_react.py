"""LangGraph: a react agent that asks another in a tool, with a checkpointer."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, api_key=KEY, base_url=at(number, role, name, steps=steps))


def converse(number: int) -> None:
    helper = create_react_agent(
        model(number, HELPER, "researcher", 1),
        [search],
        prompt="You are a researcher. Answer the task with facts.",
    )

    @tool
    def research(task: str) -> str:
        """Ask the research agent to find something out."""
        return helper.invoke({"messages": [("user", task)]})["messages"][-1].content

    lead = create_react_agent(
        model(number, MAIN, "chief", 2),
        [research, search],
        prompt="You are a helpful chief of staff.",
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "1"}}
    for text in (TASKS[number], *AFTERWARDS):
        lead.invoke({"messages": [("user", text)]}, thread)


side_by_side(converse)
