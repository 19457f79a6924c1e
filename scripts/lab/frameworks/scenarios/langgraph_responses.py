"""LangGraph over Responses: plain, by the previous response's id, as items, streamed."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side

WAYS = (
    {},
    {"use_previous_response_id": True},
    {"output_version": "responses/v1"},
    {"streaming": True},
)


@tool
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> ChatOpenAI:
    url = at(number, role, name, steps=steps)
    way = WAYS[number]
    return ChatOpenAI(model=MODEL, api_key=KEY, base_url=url, use_responses_api=True, **way)


def converse(number: int) -> None:
    helper = create_react_agent(
        model(number, HELPER, "researcher", 1), [search], prompt="You are a researcher."
    )

    @tool
    def research(task: str) -> str:
        """Ask the research agent."""
        return str(helper.invoke({"messages": [("user", task)]})["messages"][-1].content)

    lead = create_react_agent(
        model(number, MAIN, "lead", 2),
        [research, search],
        prompt="You lead.",
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "1"}}
    for text in (TASKS[number], *AFTERWARDS):
        lead.invoke({"messages": [("user", text)]}, thread)


side_by_side(converse)
