"""DSPy: ReAct, whose steps so far stand in one message that grows."""

import dspy
from talk import KEY, MAIN, MODEL, TASKS, at, found, side_by_side


def search(query: str) -> str:
    """Search the web."""
    return found(query)


def converse(number: int) -> None:
    model = dspy.LM(
        f"openai/{MODEL}",
        api_base=at(number, MAIN, "solver"),
        api_key=KEY,
        cache=False,
        num_retries=0,
    )
    with dspy.context(lm=model):
        dspy.ReAct("question -> answer", tools=[search], max_iters=4)(question=TASKS[number])


side_by_side(converse)
