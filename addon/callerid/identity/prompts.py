"""Prompts that grow: the client sends the text that it sent before, the model's reply, and more.

So do programs that complete text, and agents that keep their notes in one message. A session goes
by the beginning of what comes next: what was asked and answered, up to one of some lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from callerid.identity import history as histories
from callerid.identity import lineage
from callerid.identity.memory import Memory
from callerid.identity.session import Point, Prompt, Session
from callerid.turn import Message, Role
from callerid.wire.canonical import DIGEST_BYTES

MOST_LETTERS = 400_000  # of a prompt and its reply that are remembered
MIN_ANSWER = 12  # letters: a number may go on in any way
# Names are for beginnings of so many letters: every so many, up to so many.
_STEPS = ((16, 256), (64, 16_384), (256, 65_536), (2048, MOST_LETTERS))


class Grown(NamedTuple):
    """A session whose prompt and reply another prompt begins with; `rivals` are as good."""

    session: Session
    reply: Point
    letters: int
    rivals: int

    @property
    def is_newest(self) -> bool:
        """Whether nothing else has gone on from the reply."""
        return lineage.is_on_path(self.reply)


def is_prompt(messages: Sequence[Message]) -> bool:
    """Whether all that is said, is said by one side."""
    return bool(messages) and all(message.role is not Role.ASSISTANT for message in messages)


def keep(session: Session, reply: Point, prompt: str, answer: str, memory: Memory) -> None:
    """Let a session be found by a prompt (plain words) with its answer, and by no other."""
    drop(session, memory)
    told = _letters(answer)
    said = _letters(prompt) + told
    beginnings = list(_ends(len(said)))
    if len(told) >= MIN_ANSWER and beginnings and len(said) <= MOST_LETTERS:
        begun = _name(said[: beginnings[-1]], session.scope)
        known_as(session, Prompt(reply, len(said), _name(said, session.scope), begun), memory)


def known_as(session: Session, prompt: Prompt, memory: Memory) -> None:
    """Let a session be found by a prompt."""
    session.prompt = prompt
    memory.prompts.add(session, prompt.begun, session)


def drop(session: Session, memory: Memory) -> None:
    """Let a session be found by no prompt."""
    if session.prompt is not None:
        memory.prompts.forget(session)
        session.prompt = None


def grown_from(
    prompt: str, scope: str, connection: str, memory: Memory, now: float
) -> Grown | None:
    """The session that a prompt (plain words) goes on from; of several that of the connection."""
    letters = _letters(prompt)
    for name in reversed(_names(letters, scope)):
        found = [
            (session, session.prompt)
            for session in memory.live(memory.prompts.get(name), now)
            if session.prompt and _goes_on(letters, session.prompt, scope)
        ]
        if found:
            found.sort(key=lambda one: (one[0].client.connection == connection, one[0].seen))
            session, asked = found[-1]
            return Grown(session, asked.reply, asked.letters, len(found) - 1)
    return None


def names_of(prompt: str, scope: str) -> list[bytes]:
    """The names of beginnings by which sessions may be found that a prompt goes on from."""
    return _names(_letters(prompt), scope)


def _goes_on(letters: str, asked: Prompt, scope: str) -> bool:
    is_longer = len(letters) > asked.letters
    return is_longer and _name(letters[: asked.letters], scope) == asked.name


def _names(letters: str, scope: str) -> list[bytes]:
    """The names of all beginnings that have one, the shortest first."""
    found: list[bytes] = []
    digest, at = sha256(histories.beginning(scope)), 0
    for end in _ends(min(len(letters), MOST_LETTERS)):
        digest.update(letters[at:end].encode("utf-8", "surrogatepass"))
        found.append(digest.digest()[:DIGEST_BYTES])
        at = end
    return found


def _ends(length: int) -> Iterator[int]:
    at = 0
    for step, most in _STEPS:
        yield from range(at + step, min(most, length) + 1, step)
        at = most


def _name(letters: str, scope: str) -> bytes:
    whole = histories.beginning(scope) + letters.encode("utf-8", "surrogatepass")
    return sha256(whole).digest()[:DIGEST_BYTES]


def _letters(text: str) -> str:
    return text.replace(" ", "")
