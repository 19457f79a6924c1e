"""CrewAI: a crew whose members work one after the other; the next is told what was found."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from talk import KEY, MODEL, PEER, TASKS, at, found, side_by_side


@tool("search")
def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, name: str) -> LLM:
    url = at(number, PEER, name, steps=1)
    return LLM(model=f"openai/{MODEL}", base_url=url, api_key=KEY)


def converse(number: int) -> None:
    researcher = Agent(
        role="Researcher",
        goal="Find facts",
        backstory="A veteran.",
        llm=model(number, "researcher"),
        tools=[search],
        allow_delegation=False,
    )
    writer = Agent(
        role="Writer",
        goal="Write well",
        backstory="A poet.",
        llm=model(number, "writer"),
        allow_delegation=False,
    )
    facts = Task(description=TASKS[number], expected_output="facts", agent=researcher)
    letter = Task(
        description="Write it up as a letter.",
        expected_output="a letter",
        agent=writer,
        context=[facts],
    )
    Crew(agents=[researcher, writer], tasks=[facts, letter]).kickoff()


side_by_side(converse)
