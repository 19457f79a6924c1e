"""CrewAI: a manager that delegates to the members of its crew."""

from crewai import LLM, Agent, Crew, Process, Task
from crewai.tools import tool
from talk import HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@tool("search")
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> LLM:
    url = at(number, role, name, steps=steps)
    return LLM(model=f"openai/{MODEL}", base_url=url, api_key=KEY)


def converse(number: int) -> None:
    researcher = Agent(
        role="Researcher",
        goal="Find facts",
        backstory="A veteran.",
        llm=model(number, HELPER, "researcher", 1),
        tools=[search],
        allow_delegation=False,
    )
    writer = Agent(
        role="Writer",
        goal="Write well",
        backstory="A poet.",
        llm=model(number, HELPER, "writer", 1),
        allow_delegation=False,
    )
    Crew(
        agents=[researcher, writer],
        tasks=[Task(description=TASKS[number], expected_output="a letter")],
        process=Process.hierarchical,
        manager_llm=model(number, MAIN, "manager", 2),
    ).kickoff()


side_by_side(converse)
