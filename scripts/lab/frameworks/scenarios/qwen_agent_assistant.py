"""Qwen-Agent: an assistant whose tools are called in the text of what the model says."""

from typing import ClassVar

from qwen_agent.agents import Assistant
from qwen_agent.tools.base import BaseTool, register_tool
from talk import AFTERWARDS, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


@register_tool("search_pages")
class Search(BaseTool):
    description = "Search the web"
    parameters: ClassVar = [
        {"name": "query", "type": "string", "description": "what to search for", "required": True}
    ]

    def call(self, params: str, **_: object) -> str:
        return found(params)


def converse(number: int) -> None:
    assistant = Assistant(
        llm={"model": MODEL, "model_server": at(number, MAIN, "assistant"), "api_key": KEY},
        system_message="You help.",
        function_list=["search_pages"],
    )
    history = []
    for text in (TASKS[number], *AFTERWARDS):
        history.append({"role": "user", "content": text})
        *_, said = assistant.run(messages=history)
        history += said


side_by_side(converse)
