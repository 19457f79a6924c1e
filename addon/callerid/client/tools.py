"""Functions that a model may ask to be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "__callerid_tool__"


class Told(NamedTuple):
    """What a model is told of a tool instead of what the function itself says; "" is the same."""

    name: str = ""
    description: str = ""


@overload
def tool(function: Function) -> Function: ...


@overload
def tool(*, name: str = "", description: str = "") -> Callable[[Function], Function]: ...


def tool(
    function: Function | None = None, *, name: str = "", description: str = ""
) -> Function | Callable[[Function], Function]:
    """Mark a function, async or not, as a tool; it stays a function.

    The model is told its name, its docstring and the types of its parameters. What it returns goes
    back as text, or as JSON. An exception that it raises goes to whoever asked.
    """

    def mark(function: Function) -> Function:
        setattr(function, _MARK, Told(name, description))
        return function

    return mark if function is None else mark(function)


def told(function: Callable[..., Any]) -> Told:
    """What a model is told of a function; one that is not marked is a tool by being given."""
    found: Told = getattr(function, _MARK, Told())
    return found
