"""Agno: a team whose leader delegates to its members."""

from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.models.openai.like import OpenAILike
from agno.team import Team
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> OpenAILike:
    return OpenAILike(id=MODEL, base_url=at(number, role, name, steps=steps), api_key=KEY)


def converse(number: int) -> None:
    researcher = Agent(
        name="Researcher",
        model=model(number, HELPER, "researcher", 1),
        tools=[search],
        instructions="Search and report.",
    )
    writer = Agent(
        name="Writer", model=model(number, HELPER, "writer", 1), instructions="Write texts."
    )
    team = Team(
        name="Team",
        members=[researcher, writer],
        model=model(number, MAIN, "leader", 2),
        instructions="Lead the team.",
        db=InMemoryDb(),
        add_history_to_context=True,
        session_id=f"session-{number}",
        telemetry=False,
    )
    for text in (TASKS[number], *AFTERWARDS):
        team.run(text)


side_by_side(converse)
