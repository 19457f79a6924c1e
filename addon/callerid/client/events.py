"""What a session gives: a response, and the events of one that is streamed."""

from __future__ import annotations

from typing import Any, NamedTuple

from callerid.door.message import Message
from callerid.door.session import Usage


class Response(NamedTuple):
    """What a session was answered.

    `output` is the object of a schema, else the text. `messages` are those that the turn added,
    tools that ran in between with them.
    """

    text: str
    output: Any
    messages: tuple[Message, ...]
    usage: Usage
    session_id: str


class Event(NamedTuple):
    """Something of a response that is streamed.

    `type` is text_delta or thinking_delta (`text`), tool_call (`name`, `arguments`, `call_id`),
    tool_result (`call_id`, `text`), or, as the last, done (`response`).
    """

    type: str
    text: str = ""
    name: str = ""
    arguments: object = None
    call_id: str = ""
    response: Response | None = None
