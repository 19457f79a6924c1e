"""Pydantic AI over Responses: with everything said again, and with the previous response's id."""

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, side_by_side_in_loop


def model(number: int, role: str, name: str, steps: int) -> OpenAIResponsesModel:
    provider = OpenAIProvider(base_url=at(number, role, name, steps=steps), api_key=KEY)
    return OpenAIResponsesModel(MODEL, provider=provider)


async def converse(number: int) -> None:
    by_id = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    settings = by_id if number % 2 else None
    joker = Agent(
        model(number, HELPER, "joker", 1),
        system_prompt="You make jokes.",
        retries=3,
        model_settings=settings,
    )
    chooser = Agent(
        model(number, MAIN, "chooser", 2),
        instructions="You choose the best joke.",
        retries=3,
        model_settings=settings,
    )

    @joker.tool_plain
    def get_topics(topic: str) -> str:
        """List what jokes may be about."""
        return f"cows, ducks, {topic}"

    @chooser.tool_plain
    async def joke_task(task: str) -> str:
        """Ask the joker."""
        return (await joker.run(task)).output

    history = None
    for text in (TASKS[number], *AFTERWARDS):
        history = (await chooser.run(text, message_history=history)).all_messages()


side_by_side_in_loop(converse)
