"""Google ADK: an agent transfers to a sub-agent, which is told in words what was said and done."""

from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types
from talk import AFTERWARDS, KEY, MAIN, MODEL, TASKS, TOLD, at, found, side_by_side_in_loop


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str) -> LiteLlm:
    url = at(number, role, name, steps=1)
    return LiteLlm(model=f"openai/{MODEL}", api_base=url, api_key=KEY)


async def converse(number: int) -> None:
    billing = LlmAgent(
        name="billing",
        model=model(number, TOLD, "billing"),
        instruction="You bill.",
        description="does the billing",
        tools=[search],
        disallow_transfer_to_parent=True,
    )
    chief = LlmAgent(
        name="chief",
        model=model(number, MAIN, "chief"),
        instruction="You lead.",
        sub_agents=[billing],
    )
    runner = InMemoryRunner(chief, app_name="lab")
    session = await runner.session_service.create_session(app_name="lab", user_id="user")
    for text in (TASKS[number], *AFTERWARDS):
        message = types.Content(role="user", parts=[types.Part(text=text)])
        async for _ in runner.run_async(user_id="user", session_id=session.id, new_message=message):
            pass


side_by_side_in_loop(converse)
