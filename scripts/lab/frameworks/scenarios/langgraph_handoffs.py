"""LangGraph: two agents of a swarm hand the conversation to each other."""

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent
from langgraph_swarm import create_handoff_tool, create_swarm
from talk import AFTERWARDS, HANDED, KEY, MAIN, MODEL, TASKS, at, side_by_side


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def model(number: int, role: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, api_key=KEY, base_url=at(number, role, name, steps=1))


def converse(number: int) -> None:
    alice = create_react_agent(
        model(number, MAIN, "alice"),
        [add, create_handoff_tool(agent_name="Bob")],
        name="Alice",
        prompt="You are Alice, an addition expert.",
    )
    bob = create_react_agent(
        model(number, HANDED, "bob"),
        [create_handoff_tool(agent_name="Alice")],
        name="Bob",
        prompt="You are Bob, you speak like a pirate.",
    )
    swarm = create_swarm([alice, bob], default_active_agent="Alice")
    compiled = swarm.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}, "recursion_limit": 40}
    for text in (TASKS[number], *AFTERWARDS):
        compiled.invoke({"messages": [("user", text)]}, thread)


side_by_side(converse)
