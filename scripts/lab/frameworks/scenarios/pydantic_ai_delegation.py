"""Pydantic AI: an agent that asks another in a tool; Chat Completions and Messages in turn."""

from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, side_by_side_in_loop


def model(number: int, role: str, name: str, steps: int) -> OpenAIChatModel | AnthropicModel:
    if number % 2:
        url = at(number, role, name, steps=steps)
        return OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key=KEY))
    url = at(number, role, name, steps=steps, version="")
    return AnthropicModel(MODEL, provider=AnthropicProvider(base_url=url, api_key=KEY))


async def converse(number: int) -> None:
    joker = Agent(model(number, HELPER, "joker", 1), system_prompt="You make jokes.", retries=3)
    chooser = Agent(
        model(number, MAIN, "chooser", 2), system_prompt="You choose the best joke.", retries=3
    )

    @joker.tool_plain
    def get_topics(topic: str) -> str:
        """List what jokes may be about."""
        return f"cows, ducks, {topic}"

    @chooser.tool_plain
    async def joke_task(task: str) -> str:
        """Ask the joker."""
        return (await joker.run(f"Please generate jokes. {task}")).output

    history = None
    for text in (TASKS[number], *AFTERWARDS):
        history = (await chooser.run(text, message_history=history)).all_messages()


side_by_side_in_loop(converse)
