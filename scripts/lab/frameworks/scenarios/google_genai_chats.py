"""Google Gen AI SDK: a chat whose tool is another chat, called by the SDK itself; two stream."""

from google import genai
from google.genai import types
from talk import AFTERWARDS, HELPER, KEY, MAIN, MODEL, TASKS, at, found, side_by_side


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def client(number: int, role: str, name: str, steps: int) -> genai.Client:
    url = at(number, role, name, steps=steps, version="")
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))


def converse(number: int) -> None:
    def research(task: str) -> str:
        """Ask the research agent."""
        config = types.GenerateContentConfig(system_instruction="You research.", tools=[search])
        helper = client(number, HELPER, "researcher", 1)
        return helper.chats.create(model=MODEL, config=config).send_message(task).text or ""

    lead = client(number, MAIN, "lead", 2)
    config = types.GenerateContentConfig(system_instruction="You lead.", tools=[research, search])
    chat = lead.chats.create(model=MODEL, config=config)
    for text in (TASKS[number], *AFTERWARDS):
        if number % 2:
            list(chat.send_message_stream(text))
        else:
            chat.send_message(text)


side_by_side(converse)
