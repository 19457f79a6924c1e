"""LangGraph: a supervisor hands its conversation to experts, and gets it back."""

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent
from langgraph_supervisor import create_supervisor
from talk import AFTERWARDS, HANDED, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, api_key=KEY, base_url=at(number, role, name, steps=1))


def converse(number: int) -> None:
    mathematician = create_react_agent(
        model(number, HANDED, "mathematician"),
        [add],
        name="math_expert",
        prompt="You are a math expert. Always use one tool at a time.",
    )
    researcher = create_react_agent(
        model(number, HANDED, "researcher"),
        [search],
        name="research_expert",
        prompt="You are a world class researcher. Do not do any math.",
    )
    supervisor = create_supervisor(
        [researcher, mathematician],
        model=model(number, MAIN, "supervisor"),
        prompt="You are a team supervisor managing a research expert and a math expert.",
    ).compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}, "recursion_limit": 40}
    for text in (TASKS[number], *AFTERWARDS):
        supervisor.invoke({"messages": [("user", text)]}, thread)


side_by_side(converse)
