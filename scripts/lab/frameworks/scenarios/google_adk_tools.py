"""Google ADK: an agent as a tool of another."""

from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.adk.tools.agent_tool import AgentTool
from google.genai import types
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side_in_loop


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> LiteLlm:
    url = at(number, role, name, steps=steps)
    return LiteLlm(model=f"openai/{MODEL}", api_base=url, api_key=KEY)


async def converse(number: int) -> None:
    writer = LlmAgent(
        name="writer_agent",
        model=model(number, HELPER, "writer", 1),
        instruction="You write.",
        description="writes texts",
        tools=[search],
    )
    chief = LlmAgent(
        name="chief",
        model=model(number, MAIN, "chief", 2),
        instruction="You lead.",
        tools=[AgentTool(writer), search],
    )
    runner = InMemoryRunner(chief, app_name="lab")
    session = await runner.session_service.create_session(app_name="lab", user_id="user")
    for text in (TASKS[number], *AFTERWARDS):
        message = types.Content(role="user", parts=[types.Part(text=text)])
        async for _ in runner.run_async(user_id="user", session_id=session.id, new_message=message):
            pass


side_by_side_in_loop(converse)
