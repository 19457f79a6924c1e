"""Likeness: no exact prefix, but a session whose words are alike beyond the threshold.

First by names: what models say is nearly unique, so a session that said the same things in the
same order is found by looking them up, however the client's own messages were trimmed, cleared
or re-rendered. Only where not one thing is the same, by texts: candidates come from sketches, and
rapidfuzz compares a few hundred characters. Nothing here scans all sessions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from callerid.identity import history as histories
from callerid.identity import sketch
from callerid.identity.history import History
from callerid.identity.memory import Memory
from callerid.identity.session import Session
from callerid.settings.values import SessionSettings
from callerid.turn import Client, Message, Role, ToolCall, Unit

LOOKED_UP = 48  # of the newest things the model said; a window is rarely longer
CANDIDATES = 8  # of each kind that are compared
MIN_WEIGHT = 24  # characters shared, at least: "ok" or `ls` in both proves nothing
MIN_REPLY = 12  # characters: shorter replies cannot be told from one another by their text
MIN_WORDS = 60  # characters: a question of two words and a call of a tool are soon alike
SAME_NUMBERS = 0.5  # a share: of two or three numbers one may be edited too
MIN_TOOL_ID = 9  # characters: Mistral's, the shortest that are random; call_0 is anybody's
CLOSE = 0.02  # scores nearer than this are equally good
TAIL = 600  # characters of a session's newest words that are kept and compared
RAW_TAIL = 2400  # characters as sent that are enough to make a tail of
# A name and a number: functions.bash:0 (Kimi K2) comes in every conversation.
_COUNTED = re.compile(r"[^\d]{1,64}[.:_-]\d{1,4}")
_NUMBER = re.compile(r"\d+")


class Words(NamedTuple):
    """The texts of a history that are compared, up to the newest message of the model.

    `reply` is the model's newest text, `tail` the newest words of people and model, `messages` how
    many messages with words that is, of those that are `heard`. All texts are plain.
    """

    reply: str = ""
    tail: str = ""
    messages: int = 0
    heard: Sequence[Message] = ()

    @property
    def at(self) -> int:
        """How many units that is."""
        return sum(len(message.units) for message in self.heard)


def words_of(messages: Sequence[Message], plain: Callable[[str], str]) -> Words:
    """The texts of a history that are compared, up to the newest message of the model."""
    places = range(len(messages) - 1, -1, -1)
    newest_at = next((at for at in places if messages[at].role is Role.ASSISTANT), None)
    if newest_at is None:
        return Words()
    heard = messages[: newest_at + 1]
    spoken = [message for message in heard if message.is_spoken]
    replies = (message.text for message in reversed(spoken) if message.role is Role.ASSISTANT)
    newest: list[str] = []
    for message in reversed(spoken):
        newest.append(plain(message.text[-RAW_TAIL:]))
        if sum(map(len, newest)) > TAIL:
            break
    return Words(
        reply=plain(next(replies, "")),
        tail=" ".join(reversed(newest))[-TAIL:],
        messages=len(spoken),
        heard=heard,
    )


def tool_ids(messages: Iterable[Message]) -> Iterator[str]:
    """The ids of a model's tool calls that are long enough to be nobody else's."""
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall) and is_own_id(part.id):
                yield part.id


def is_own_id(id: str) -> bool:
    """Whether the id of a tool call is nobody else's: not short, nor a number of the call."""
    return len(id) >= MIN_TOOL_ID and not _COUNTED.fullmatch(id)


class Alike(NamedTuple):
    """A session that a history is alike to, and how.

    `score` is 0..1, and so is `closeness`, of the newest words, which decides between equal
    scores; `at` is how many units of the history lie up to the newest thing shared; `is_newest`
    says that it is the newest thing that the session said.
    """

    session: Session
    score: float
    closeness: float
    at: int
    is_newest: bool
    how: str
    rivals: int = 0


class _Near(NamedTuple):
    """A session that shares something: the newest unit, and how many letters in all.

    `closeness`, 0..1, is that of the newest words; `has_issued` says that its model, and no
    other's, issued the newest tool id that is known.
    """

    session: Session
    newest: int | None
    weight: int
    closeness: float
    has_issued: bool = False


def resemble(
    history: History,
    words: Words,
    client: Client,
    ids: Iterable[str],
    issuers: list[Session],
    memory: Memory,
    settings: SessionSettings,
    now: float,
) -> Alike | None:
    """The live session that a history is most alike to; None below the threshold.

    `ids` are those of the tool calls in it, `issuers` the sessions whose model issued the newest.
    """
    scope = histories.beginning(client.scope)
    said = [(at, histories.key(scope, unit), unit) for at, unit in history.model_units()]
    scoped = {(client.scope, id) for id in ids}
    candidates = _candidates(said, words, issuers, histories.salt(scope), memory, now)
    near_ones = [near for near in candidates if near.session.scope == client.scope]
    if sum(near.closeness >= settings.fuzzy_threshold for near in near_ones) > 1:
        # Branches share what was issued before they parted; only numbers tell them apart.
        near_ones = [near._replace(has_issued=False) for near in near_ones]
    found = [
        alike
        for near in near_ones
        for alike in _compare(near, said, words, settings)
        if near.newest is not None or not _is_foreign(scoped, memory.tool_ids.names(near.session))
    ]
    if not found:
        return None
    best = max(found, key=lambda alike: _rank(alike, client))
    rivals = {
        alike.session.id
        for alike in found
        if alike.score >= best.score - CLOSE
        and alike.closeness >= best.closeness - CLOSE
        and (alike.at, alike.is_newest) == (best.at, best.is_newest)
    }
    return best._replace(rivals=len(rivals - {best.session.id}))


def _rank(alike: Alike, client: Client) -> tuple[int, bool, float, bool, float, float]:
    session = alike.session
    same_connection = session.client.connection == client.connection
    score, closeness = round(alike.score, 2), round(alike.closeness, 2)
    return alike.at, alike.is_newest, score, same_connection, closeness, session.seen


def _candidates(
    said: list[tuple[int, int, Unit]],
    words: Words,
    issuers: list[Session],
    salt: int,
    memory: Memory,
    now: float,
) -> list[_Near]:
    newest: dict[Session, int] = {}
    votes: Counter[Session] = Counter()
    for _, name, unit in said[: -LOOKED_UP - 1 : -1]:
        for session in memory.live(memory.units.get(name), now):
            newest.setdefault(session, name)
            votes[session] += unit.weight
    for session in memory.live(issuers, now):
        votes[session] += MIN_WEIGHT  # an id that the provider issued is nobody else's
    near = [
        _Near(session, newest.get(session), n, _closeness(session, words), issuers == [session])
        for session, n in votes.most_common(CANDIDATES)
    ]
    if len(words.reply) < MIN_REPLY:
        return near
    samples: Counter[Session] = Counter()
    for number in sketch.sketch(words.reply, salt):
        samples.update(memory.live(memory.replies.get(number), now))
    known = {each.session for each in near}
    others = (session for session, _ in samples.most_common(CANDIDATES) if session not in known)
    return near + [_Near(session, None, 0, _closeness(session, words)) for session in others]


def _closeness(session: Session, words: Words) -> float:
    return fuzz.ratio(words.tail, session.tail) / 100


def _is_foreign(ids: set[tuple[str, str]], issued: set[tuple[str, str]]) -> bool:
    """Whether tool ids say that a session did not issue them: both have some, and none in common.

    Texts made from one template are soon alike; what is exactly shared outweighs it.
    """
    return bool(ids) and bool(issued) and ids.isdisjoint(issued)


def _compare(
    near: _Near, said: list[tuple[int, int, Unit]], words: Words, settings: SessionSettings
) -> list[Alike]:
    by_names = _by_names(near, said, settings)
    by_texts = _by_texts(near, said, words, settings)
    return [alike for alike in (by_names, by_texts) if alike is not None]


def _by_names(
    near: _Near, said: list[tuple[int, int, Unit]], settings: SessionSettings
) -> Alike | None:
    """Likeness by the names of what the model said, which must be long enough to mean something."""
    session = near.session
    # What the client itself put into the model's mouth counts neither for nor against.
    names = [name for _, name, _ in said if name not in session.given]
    if near.weight < MIN_WEIGHT or near.newest not in session.said or near.newest not in names:
        return None
    score, is_newest = _in_order(names, near.newest, session.said)
    if score < settings.fuzzy_threshold:
        return None
    at = next(at for at, name, _ in reversed(said) if name == near.newest) + 1
    how = f"{len(names)} things that the model said, in order,"
    return Alike(session, score, near.closeness, at, is_newest, how)


def _in_order(names: list[int], newest: int, said: tuple[int, ...]) -> tuple[float, bool]:
    """How alike two lines of things said are, and whether they meet in the newest of `said`.

    They are laid side by side at the newest thing they share and compared from there back over
    the shorter; what the history holds beyond it counts against them.
    """
    index = len(names) - names[::-1].index(newest)
    end = len(said) - said[::-1].index(newest)
    length = min(index, end)
    score = Indel.normalized_similarity(names[index - length :], said[end - length : end])
    return float(score), end == len(said)


def _by_texts(
    near: _Near,
    said: list[tuple[int, int, Unit]],
    words: Words,
    settings: SessionSettings,
) -> Alike | None:
    """Likeness by the newest words, where a thing said is shared or the newest reply is alike."""
    session, closeness = near.session, near.closeness
    difference = abs(words.messages - session.messages)
    is_close = closeness >= settings.fuzzy_threshold and difference <= settings.fuzzy_max_diff
    if not is_close or len(words.tail) < MIN_WORDS:
        return None
    if not near.has_issued and not _same_numbers(words.tail, session.tail):
        return None  # two texts of one template; but templates share no ids
    if said and said[-1][1] in session.given:
        return None  # the client put it there, and does so in every call: an example
    shares_newest = bool(session.said) and any(name == session.said[-1] for _, name, _ in said)
    is_newest = shares_newest or session.ends_in_text
    how = f"the newest {len(words.tail)} characters are alike"
    return Alike(session, closeness, closeness, words.at, is_newest, how)


def _same_numbers(one: str, other: str) -> bool:
    """Whether two texts speak of the same numbers, mostly.

    An edit changes a word here and there; what two texts of one template differ in is numbers.
    """
    return Indel.normalized_similarity(_NUMBER.findall(one), _NUMBER.findall(other)) >= SAME_NUMBERS
