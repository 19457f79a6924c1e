"""Likeness: no exact prefix, but a session whose words are alike beyond the threshold.

First by names: what models say is nearly unique, so a session that said the same things in the
same order is found by looking them up, however the client's own messages were trimmed, cleared
or re-rendered. Only where not one thing is the same, by texts: candidates come from sketches, and
rapidfuzz compares a few hundred characters. Nothing here scans all sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from callerid import history as histories
from callerid import sketch
from callerid.history import History
from callerid.memory import Memory, Session
from callerid.settings import SessionSettings
from callerid.turn import Client, Message, Role, Unit

LOOKED_UP = 48  # of the newest things the model said; a window is rarely longer
CANDIDATES = 8
MIN_WEIGHT = 24  # characters shared, at least: "ok" or `ls` in both proves nothing
MIN_REPLY = 12  # characters: shorter replies cannot be told from one another by their text
CLOSE = 0.02  # scores nearer than this are equally good
TAIL = 600  # characters of a session's newest words that are kept and compared
RAW_TAIL = 2400  # characters as sent that are enough to make a tail of
_SPEAKERS = (Role.USER, Role.ASSISTANT)


class Words(NamedTuple):
    """The texts of a history that are compared.

    `reply` is the newest reply in it, `tail` its newest words up to that reply, `messages` how
    many messages of people and models that is. All are plain (canonical.plain).
    """

    reply: str
    tail: str
    messages: int


def words_of(messages: Sequence[Message], plain: Callable[[str], str]) -> Words:
    """The texts of a history that are compared, up to the model's newest words in it."""
    spoken = [message for message in messages if message.role in _SPEAKERS and message.text]
    while spoken and spoken[-1].role is not Role.ASSISTANT:
        spoken.pop()
    if not spoken:
        return Words("", "", 0)
    newest: list[str] = []
    for message in reversed(spoken):
        newest.append(plain(message.text[-RAW_TAIL:]))
        if sum(map(len, newest)) > TAIL:
            break
    tail = " ".join(reversed(newest))[-TAIL:]
    return Words(plain(spoken[-1].text), tail, len(spoken))


class Alike(NamedTuple):
    """A session that a history is alike to, and how.

    `score` is 0..1; `at` is how many units of the history lie up to the newest thing shared (0
    where only the texts are alike); `is_newest` says that it is the newest thing the session said.
    """

    session: Session
    score: float
    at: int
    is_newest: bool
    how: str
    rivals: int = 0


def resemble(
    history: History,
    words: Words,
    client: Client,
    memory: Memory,
    settings: SessionSettings,
    now: float,
) -> Alike | None:
    """The live session that a history is most alike to; None below the threshold."""
    scope = histories.beginning(client.scope)
    said = [(at, histories.key(scope, unit), unit) for at, unit in history.model_units()]
    found = _by_names(said, memory, settings, now)
    found += _by_texts(words, histories.salt(scope), memory, settings, now)
    if not found:
        return None
    found.sort(key=lambda alike: _rank(alike, client), reverse=True)
    best = found[0]
    rivals = {
        alike.session.id
        for alike in found
        if alike.score >= best.score - CLOSE
        and (alike.at, alike.is_newest) == (best.at, best.is_newest)
    }
    return best._replace(rivals=len(rivals - {best.session.id}))


def _rank(alike: Alike, client: Client) -> tuple[int, bool, float, bool, float]:
    session = alike.session
    same_connection = session.client.connection == client.connection
    return alike.at, alike.is_newest, round(alike.score, 2), same_connection, session.seen


def _by_names(
    said: list[tuple[int, int, Unit]], memory: Memory, settings: SessionSettings, now: float
) -> list[Alike]:
    newest: dict[str, tuple[Session, int]] = {}
    votes: Counter[str] = Counter()
    for index in range(len(said) - 1, max(-1, len(said) - 1 - LOOKED_UP), -1):
        for session in memory.live(memory.units.get(said[index][1]), now):
            newest.setdefault(session.id, (session, index))
            votes[session.id] += said[index][2].weight
    found = []
    for id, weight in votes.most_common(CANDIDATES):
        session, index = newest[id]
        # What the client itself put into the model's mouth counts neither for nor against.
        names = [name for _, name, _ in said if name not in session.given]
        score, is_newest = _in_order(names, said[index][1], session.said)
        if weight >= MIN_WEIGHT and score >= settings.fuzzy_threshold:
            how = f"{len(names)} things that the model said, in order,"
            found.append(Alike(session, score, said[index][0] + 1, is_newest, how))
    return found


def _in_order(names: list[int], newest: int, said: list[int]) -> tuple[float, bool]:
    """How alike two lines of things said are, and whether they meet in the newest of `said`.

    They are laid side by side at the newest thing they share and compared from there back over
    the shorter; what the history holds beyond it counts against them.
    """
    if newest not in said or newest not in names:
        return 0.0, False
    index = len(names) - names[::-1].index(newest)
    end = len(said) - said[::-1].index(newest)
    length = min(index, end)
    score = Indel.normalized_similarity(names[index - length :], said[end - length : end])
    return float(score), end == len(said)


def _by_texts(
    words: Words, salt: int, memory: Memory, settings: SessionSettings, now: float
) -> list[Alike]:
    if len(words.reply) < MIN_REPLY:
        return []
    votes: Counter[str] = Counter()
    sessions: dict[str, Session] = {}
    for number in sketch.sketch(words.reply, salt):
        for session in memory.live(memory.replies.get(number), now):
            votes[session.id] += 1
            sessions[session.id] = session
    cutoff = 100 * settings.fuzzy_threshold
    found = []
    for id, _ in votes.most_common(CANDIDATES):
        session = sessions[id]
        if abs(words.messages - session.messages) > settings.fuzzy_max_diff:
            continue
        if score := fuzz.ratio(words.tail, session.tail, score_cutoff=cutoff) / 100:
            how = f"the newest {len(words.tail)} characters are alike"
            found.append(Alike(session, score, 0, True, how))
    return found
