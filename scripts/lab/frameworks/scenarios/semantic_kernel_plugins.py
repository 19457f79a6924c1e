"""Semantic Kernel: an agent as a plugin of another."""

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side_in_loop


class Web:
    @kernel_function
    def search(self, query: str) -> str:
        """Search the web."""
        return found(query)


def service(number: int, role: str, name: str, steps: int) -> OpenAIChatCompletion:
    client = AsyncOpenAI(base_url=at(number, role, name, steps=steps), api_key=KEY)
    return OpenAIChatCompletion(ai_model_id=MODEL, async_client=client)


async def converse(number: int) -> None:
    writer = ChatCompletionAgent(
        service=service(number, HELPER, "writer", 1),
        name="WriterAgent",
        instructions="You write.",
        plugins=[Web()],
    )
    chief = ChatCompletionAgent(
        service=service(number, MAIN, "chief", 2),
        name="Chief",
        instructions="You lead.",
        plugins=[Web(), writer],
    )
    thread = None
    for text in (TASKS[number], *AFTERWARDS):
        thread = (await chief.get_response(messages=text, thread=thread)).thread


side_by_side_in_loop(converse)
