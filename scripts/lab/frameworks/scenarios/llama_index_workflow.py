"""LlamaIndex: a workflow in which one agent hands the conversation over to another."""

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context
from llama_index.llms.openai_like import OpenAILike
from talk import AFTERWARDS, HANDED, KEY, MAIN, MODEL, TASKS, at, found, side_by_side_in_loop


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def model(number: int, role: str, name: str, steps: int) -> OpenAILike:
    return OpenAILike(
        model=MODEL,
        api_base=at(number, role, name, steps=steps),
        api_key=KEY,
        is_chat_model=True,
        is_function_calling_model=True,
    )


async def converse(number: int) -> None:
    writer = FunctionAgent(
        name="writer",
        description="writes",
        system_prompt="You write reports.",
        llm=model(number, HANDED, "writer", 1),
        tools=[search],
        can_handoff_to=[],
    )
    researcher = FunctionAgent(
        name="researcher",
        description="researches",
        system_prompt="You research, then hand off to the writer.",
        llm=model(number, MAIN, "researcher", 2),
        tools=[search],
        can_handoff_to=["writer"],
    )
    workflow = AgentWorkflow(agents=[researcher, writer], root_agent="researcher")
    context = Context(workflow)
    memory = ChatMemoryBuffer.from_defaults(token_limit=40_000)
    for text in (TASKS[number], *AFTERWARDS):
        await workflow.run(user_msg=text, ctx=context, memory=memory)


side_by_side_in_loop(converse)
