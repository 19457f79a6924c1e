"""Tells memory what was said: when a call is known to be a session's, and when its reply came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callerid.identity import history as histories
from callerid.identity import likeness, prompts, quotes, sketch
from callerid.identity.history import History
from callerid.identity.memory import Memory
from callerid.identity.openings import first_words
from callerid.identity.quotes import Errand
from callerid.identity.session import NOTHING_GIVEN, Point, Session, State
from callerid.turn import Call, Client, Kind, Relation, Reply, Role, Unit
from callerid.wire import canonical
from callerid.wire.messages import MessageReader

MAX_POINTS = 4000  # of one session: two thousand turns, many times what a context window holds


def call(
    session: Session,
    history: History,
    before: Point | None,
    again: Point | None,
    client: Client,
    agent_id: str,
    memory: Memory,
    now: float,
) -> Point:
    """Remember that a session made a call, which goes on from `before` or repeats `again`."""
    memory.touch(session, now)
    session.client = client
    point = again or _new_point(session, history, before, memory)
    point.state = State.IN_FLIGHT
    point.agent_id = agent_id
    session.head = point
    session.asked = history.units[-1].digest if history.units else b""
    return point


def opening(session: Session, texts: list[str], memory: Memory, now: float, kind: Kind) -> None:
    """Remember the first words of a conversation, or of a side call that may be about one."""
    if kind is Kind.MAIN:
        memory.openings.begins(session, first_words(texts), now)
    else:
        memory.openings.is_asked(session, "\n".join(texts), now)


def _new_point(session: Session, history: History, before: Point | None, memory: Memory) -> Point:
    if before is None:
        scope = histories.beginning(session.scope)
        given = [histories.key(scope, unit) for _, unit in history.model_units()]
        session.given = frozenset(given) if given else NOTHING_GIVEN
    else:
        _hear(session, history, before, memory)
        _notice_search(session, history, before)
    depth = len(history.units) + (before.depth if before and before.link == history.start else 0)
    goes_on = before is not None and (
        before.link == history.start or before.link in history.links or bool(history.model_units())
    )
    point = Point(session, history.end, depth, before, is_reply=False, goes_on=goes_on)
    if before is not None and not _is_declared_fork(session, before):
        before.next = point
        if before.is_reply and before.before is not None:
            before.before.next = before
    _keep_point(point, memory)
    return point


def _is_declared_fork(session: Session, before: Point) -> bool:
    """Whether a session says that it is another one: who was there first still goes on there."""
    is_fork = session.relation is Relation.FORK and session.has_declared_id
    return is_fork and before.session is not session


def _keep_point(point: Point, memory: Memory) -> None:
    """Let a point be found by its history."""
    session = point.session
    memory.points.add(session, point.link, point)
    bound(session, memory)


def bound(session: Session, memory: Memory) -> None:
    """Forget the older half of a session's points where there are very many."""
    if not thin_out(session, memory):
        return
    kept = {
        owner
        for link in memory.points.names(session)
        for owner in memory.points.get(link)
        if owner.session is session
    }
    gone = min(owner.turn for owner in kept)
    session.said = session.said[gone:]
    for owner in kept:
        owner.turn -= gone
        if owner.before and owner.before.session is session and owner.before not in kept:
            owner.before = None


def thin_out(session: Session, memory: Memory) -> bool:
    """Let the older half of very many names find a session no more; whether there were so many."""
    if memory.points.count(session) <= MAX_POINTS:
        return False
    for index in (memory.points, memory.units, memory.responses, memory.tool_ids):
        index.drop_all_but(session, MAX_POINTS // 2)
    return True


def _notice_search(session: Session, history: History, before: Point) -> None:
    """A fork that asks an earlier call again, word for word, is a step of a search."""
    origin = before.session
    if origin is not session:
        asks_again = not before.is_reply and before.link == history.end
        origin.is_searched = session.is_searched = origin.is_searched or asks_again


def _hear(session: Session, history: History, before: Point, memory: Memory) -> None:
    """Take in what the model said between the point and this call, where we did not see it said."""
    if before.session is not session or before.link not in history.links:
        return
    scope = histories.beginning(session.scope)
    known = history.links.index(before.link) + 1
    for unit in history.units[known:]:
        if unit.role is Role.ASSISTANT:
            _say(session, histories.key(scope, unit), memory)


def _say(session: Session, name: int, memory: Memory) -> None:
    session.said = (*session.said, name)
    memory.units.add(session, name, session)


def reply(
    point: Point,
    asked: Call,
    answer: Reply,
    reader: MessageReader,
    memory: Memory,
    now: float,
    *,
    has_failed: bool,
    is_newest: bool = True,
) -> None:
    """Remember how a call was answered: the history grows by what the model said.

    The newest words of the session are those of this reply, unless it is not its newest.
    """
    session = point.session
    memory.touch(session, now)
    units = canonical.in_order(answer.messages)
    # An answer that says nothing is none: clients ask again, or go on as if it had said something.
    point.state = State.FAILED if has_failed or not units else State.ANSWERED
    if not units:
        return
    scope = histories.beginning(session.scope)
    for other in answer.others:
        if other.units:
            _keep_point(_after(point, other.units), memory)
    spoken = _after(point, units)
    session.said = session.said[: point.turn]
    for unit in units:
        _say(session, histories.key(scope, unit), memory)
    spoken.turn = len(session.said)
    session.head = spoken
    _keep_point(spoken, memory)
    for id in filter(None, (answer.response_id, *answer.item_ids)):
        memory.responses.add(session, (session.scope, id), spoken)
    for id in likeness.tool_ids(answer.messages):
        memory.tool_ids.add(session, (session.scope, id), session)
    errands = [
        Errand(reader.plain(text)[: quotes.ERRAND_KEPT], is_task)
        for text, is_task in quotes.errands_in(answer.messages)[-quotes.MAX_ERRANDS :]
    ]
    if is_newest:
        session.spoken = len(units[0].letters)
        session.asks_tool = not units[-1].letters  # words have letters, calls of tools have none
        _keep_prompt(spoken, asked, answer, reader, memory)
        _keep_words(session, asked, answer, errands, reader, memory)
    _keep_errands(session, errands, memory)


def _keep_words(
    session: Session, asked: Call, answer: Reply, errands: list[Errand], reader: MessageReader,
    memory: Memory,
) -> None:  # fmt: skip
    """Remember the newest words of a session, by which it is recognised where nothing is exact."""
    words = likeness.words_of((*asked.messages, *answer.messages), reader.plain)
    session.tail = words.tail
    memory.lengthen(session, words.messages)
    session.ends_in_text = bool(answer.messages[-1].text)
    asked_words = _asked_words(asked, reader)
    _keep_reply(session, words.reply, asked_words, memory)
    session.tasks = quotes.own_tasks(errands, asked_words)


def _keep_prompt(
    spoken: Point, asked: Call, answer: Reply, reader: MessageReader, memory: Memory
) -> None:
    """Let the session be found by its prompt and the reply, where nothing else was said."""
    texts = quotes.opening_texts(asked.messages)
    if prompts.is_prompt(asked.messages) and sum(map(len, texts)) <= prompts.MOST_LETTERS:
        prompt = " ".join(map(reader.plain, texts))
        said = "".join(message.text for message in answer.messages)
        prompts.keep(spoken.session, spoken, prompt, reader.plain(said), memory)
    else:
        prompts.drop(spoken.session, memory)


def _after(point: Point, units: Sequence[Unit]) -> Point:
    """The point after an answer to a call."""
    link = histories.extend(point.link, units)[-1]
    return Point(point.session, link, point.depth + len(units), point, is_reply=True)


def summary(
    session: Session, asked: Call, answer: Reply, reader: MessageReader, memory: Memory, now: float
) -> None:
    """Remember the reply to a compaction call, which stands outside the chain.

    Some clients put it at the beginning of the new history as the model's own words.
    """
    memory.touch(session, now)
    scope = histories.beginning(session.scope)
    for unit in canonical.in_order(answer.messages):
        _say(session, histories.key(scope, unit), memory)
    spoken = (message.text for message in answer.messages if message.role is Role.ASSISTANT)
    text = reader.plain("\n".join(spoken))
    _keep_reply(session, text, _asked_words(asked, reader), memory)


def warmed(session: Session, answer: Reply, memory: Memory) -> None:
    """Remember the id of a reply to a warming-up: the first call may name it. Nothing was said."""
    if answer.response_id:
        point = Point(session, histories.beginning(session.scope), 0, None, is_reply=True)
        point.said = False
        memory.responses.add(session, (session.scope, answer.response_id), point)


def _asked_words(asked: Call, reader: MessageReader) -> str:
    """The opening and the newest words of a person: what replies like to repeat."""
    texts = quotes.opening_texts(asked.messages)
    newest = next((m.text for m in reversed(asked.messages) if m.role is Role.USER), "")
    return reader.plain("\n".join([*texts, newest]))


def _keep_reply(session: Session, text: str, asked: str, memory: Memory) -> None:
    """Let the model's own words find the session, not those that it repeats."""
    memory.replies.keep(session, text, besides=asked)


def _keep_errands(session: Session, given: list[Errand], memory: Memory) -> None:
    """Let the newest texts that the model gave to tools find the session, and no older ones."""
    salt = histories.salt(histories.beginning(session.scope))
    newest: dict[str, list[int]] = {}
    for errand, _ in given:
        numbers = newest.pop(errand, []) or session.errands.get(errand)
        newest[errand] = numbers or sketch.sketch(errand, salt)
    errands(session, newest, memory)


def errands(session: Session, newest: Mapping[str, list[int]], memory: Memory) -> None:
    """Let errands find the session by their sketches, too; of very many the oldest go."""
    if not newest:
        return
    for numbers in newest.values():
        for number in numbers:
            memory.errands.add(session, number, session)
    known = {text: numbers for text, numbers in session.errands.items() if text not in newest}
    known |= newest
    oldest = list(known)[: -quotes.MAX_ERRANDS]
    gone = {number for errand in oldest for number in known.pop(errand)}
    session.errands = known
    if gone:
        memory.errands.drop(session, gone.difference(*known.values()))
