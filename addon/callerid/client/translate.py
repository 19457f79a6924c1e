"""Messages between the door's words and pydantic-ai's, with nothing lost of what it said itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_ai import messages as library

from callerid.again.speech import NOT_RUN
from callerid.archive.transcript import Answered, Asked, Other, Pieces, Thought, Words
from callerid.door.message import Message
from callerid.turn import Role

NAME = "pydantic_ai"  # the dialect of messages that hold the library's own

Said = library.ModelRequest | library.ModelResponse


def kept(message: Said) -> Message:
    """A message of the library's as the door has it; its own JSON is kept beside the pieces."""
    (raw,) = library.ModelMessagesTypeAdapter.dump_python([message], mode="json")
    pieces = tuple(piece for part in message.parts for piece in _pieces(part))
    if isinstance(message, library.ModelResponse):
        return Message(Role.ASSISTANT, pieces, raw, NAME)
    is_of_tools = bool(pieces) and all(isinstance(piece, Answered) for piece in pieces)
    return Message(Role.TOOL if is_of_tools else Role.USER, pieces, raw, NAME)


def _pieces(part: object) -> Iterable[Pieces]:
    match part:
        case library.UserPromptPart(content=str() as text) | library.TextPart(content=text):
            if text:
                yield Words(text)
        case library.UserPromptPart():
            for item in part.content:
                yield Words(item) if isinstance(item, str) else Other(type(item).__name__)
        case library.ToolCallPart():
            yield Asked(part.tool_call_id, part.tool_name, part.args_as_dict())
        case library.ToolReturnPart():
            yield Answered(part.tool_call_id, part.model_response_str())
        case library.RetryPromptPart():
            text = part.model_response()
            yield Answered(part.tool_call_id, text) if part.tool_name else Words(text)
        case library.ThinkingPart():
            if part.content:
                yield Thought(part.content)
        case library.SystemPromptPart():
            return
        case _:
            yield Other(str(getattr(part, "part_kind", "part")))


def said(messages: Sequence[Message]) -> list[library.ModelMessage]:
    """A history as the library takes it, whoever told it, and in whatever dialect.

    What others thought is left out: it counts only with their provider's signature. Tool calls
    that were never answered are answered with `NOT_RUN`; providers refuse a history otherwise.
    """
    found: list[library.ModelMessage] = []
    names: dict[str, str] = {}
    for message in messages:
        own = _own(message) or _told(message, names)
        names |= {part.tool_call_id: part.tool_name for part in _calls(own)}
        if found and found[-1].kind == own.kind:
            found[-1] = _merged(found[-1], own)
        elif own.parts:
            found.append(own)
    return _settled(found)


def _own(message: Message) -> Said | None:
    """What the library said itself, if this is it and this version of it still reads it."""
    if message.dialect != NAME or message.raw is None:
        return None
    try:
        (found,) = library.ModelMessagesTypeAdapter.validate_python([message.raw])
    except (ValidationError, ValueError):
        return None
    return found


def _told(message: Message, names: dict[str, str]) -> Said:
    if message.role is Role.ASSISTANT:
        return library.ModelResponse([*_model_parts(message.parts)])
    return library.ModelRequest([*_request_parts(message, names)])


def _model_parts(pieces: Iterable[Pieces]) -> Iterable[library.ModelResponsePart]:
    for at, piece in enumerate(pieces):
        if isinstance(piece, Words):
            yield library.TextPart(piece.text)
        elif isinstance(piece, Asked):
            arguments = piece.arguments if isinstance(piece.arguments, str | dict) else {}
            yield library.ToolCallPart(piece.name, arguments, piece.id or f"{piece.name}_{at}")
        elif isinstance(piece, Other):
            yield library.TextPart(f"[{piece.kind}]")


def _request_parts(message: Message, names: dict[str, str]) -> Iterable[library.ModelRequestPart]:
    open_calls = list(names)
    for piece in message.parts:
        if isinstance(piece, Answered):
            id = piece.call_id if piece.call_id in names else _of_name(piece.call_id, names)
            id = id or (open_calls[0] if open_calls else piece.call_id)
            yield library.ToolReturnPart(names.pop(id, "tool"), piece.text, id)
        elif isinstance(piece, Words):
            is_note = message.role is Role.SYSTEM
            make = library.SystemPromptPart if is_note else library.UserPromptPart
            yield make(piece.text)
        elif isinstance(piece, Other):
            yield library.UserPromptPart(f"[{piece.kind}]")


def _of_name(name: str, names: dict[str, str]) -> str:
    """The open call of a tool by its name: dialects without ids answer so."""
    return next((id for id, called in names.items() if called == name), "")


def _merged(one: library.ModelMessage, two: library.ModelMessage) -> library.ModelMessage:
    """What one side said in several messages in a row is one."""
    merged: Any = replace(one)  # both have parts, of kinds of their own
    merged.parts = [*one.parts, *two.parts]
    made: library.ModelMessage = merged
    return made


def _calls(message: library.ModelMessage) -> list[library.ToolCallPart]:
    return [part for part in message.parts if isinstance(part, library.ToolCallPart)]


def _settled(messages: list[library.ModelMessage]) -> list[library.ModelMessage]:
    """The messages with an answer to each tool call, right behind it."""
    found: list[library.ModelMessage] = []
    for at, message in enumerate(messages):
        found.append(message)
        if not isinstance(message, library.ModelResponse):
            continue
        after = messages[at + 1] if at + 1 < len(messages) else None
        answered = {getattr(part, "tool_call_id", "") for part in after.parts} if after else set()
        missing = [part for part in _calls(message) if part.tool_call_id not in answered]
        if missing:
            parts = (
                library.ToolReturnPart(part.tool_name, NOT_RUN, part.tool_call_id)
                for part in missing
            )
            found.append(library.ModelRequest([*parts]))
    return found
