"""A transcript as plain text, for where there is neither colour nor a way to unfold."""

from __future__ import annotations

from collections.abc import Iterable

from callerid.archive.transcript import (
    Answered,
    Asked,
    Line,
    Pieces,
    Thought,
    Words,
    shown_arguments,
)


def text(lines: Iterable[Line]) -> str:
    """The messages, each below the name of who says it."""
    return "\n\n".join("\n".join([f"── {line.role}", *map(_piece, line.pieces)]) for line in lines)


def _piece(piece: Pieces) -> str:
    if isinstance(piece, Words):
        return piece.text
    if isinstance(piece, Asked):
        return f"▸ {piece.name} {shown_arguments(piece.arguments)}"
    if isinstance(piece, Answered):
        return f"← {piece.text}"
    if isinstance(piece, Thought):
        return f"(thinks) {piece.text}"
    return f"[{piece.kind}]"
