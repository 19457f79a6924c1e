"""The ladder: whose call this is, by the strongest evidence there is."""

from __future__ import annotations

from typing import NamedTuple

from callerid.identity import lineage
from callerid.identity.lineage import Step, Way
from callerid.identity.openings import first_words
from callerid.identity.question import Question
from callerid.identity.session import Point, Session
from callerid.turn import Because, Kind, Relation

RIVALLED = 0.6  # the confidence where another session fits just as well


class Match(NamedTuple):
    """What a rung found.

    `session` is the session that goes on, None where a new one begins: then `new_id` is its id
    ("" to mint one), and `parent_id` and `relation` say where it comes from. `before` is the point
    that the call goes on from, `again` the earlier sending of the same call.
    """

    because: Because
    confidence: float
    evidence: str
    session: Session | None = None
    before: Point | None = None
    again: Point | None = None
    parent_id: str = ""
    relation: Relation | None = None
    new_id: str = ""


def identify(question: Question) -> Match:
    """Say whose call this is. Never fails; may say NEW."""
    match = (
        by_declaration(question)
        or by_response_id(question)
        or by_errand(question)
        or by_history(question)
        or by_compaction(question)
        or by_likeness(question)
        or by_opening(question)
        or by_connection(question)
        or newcomer(question)
    )
    return reset(question, match) or match


def by_declaration(question: Question) -> Match | None:
    """The client says which session it is, or in which run."""
    if question.declared.session:
        return _declared_session(question)
    if question.declared.run:
        return _in_declared_run(question)
    return None


def _declared_session(question: Question) -> Match:
    said = question.declared
    known = question.session_declared(said.session)
    if known is not None:
        return _continues(question, known, 1.0, f"{said.place} says so")
    step = question.step
    if step and step.way is not Way.FORK and not step.point.session.has_declared_id:
        evidence = f"{said.place} now names the session that this history goes on from"
        return _continues(question, step.point.session, 0.95, evidence)
    evidence = f"{said.place} names a session not heard of before"
    return _declared_newcomer(question, said.session, evidence)


def _declared_newcomer(question: Question, new_id: str, evidence: str) -> Match:
    said = question.declared
    if said.parent:
        known = question.session_declared(said.parent)
        parent_id = known.id if known else said.parent
        evidence += f"; its parent is declared: {parent_id}"
        origin = question.step.point if question.step else None
        before = origin if said.relation is Relation.FORK else None
        return Match(said.because, 1.0, evidence, None, before, None, parent_id, said.relation,
                     new_id)  # fmt: skip
    origin = question.answered or (question.step.point if question.step else None)
    if origin is not None:
        evidence += f"; its history is that of {origin.session.id}"
        return Match(said.because, 1.0, evidence, None, origin, None, origin.session.id,
                     Relation.FORK, new_id)  # fmt: skip
    if question.errand is not None:
        sender = question.errand.session.id
        evidence += f"; its opening is an errand that {sender} gave"
        return Match(said.because, 1.0, evidence, None, None, None, sender, Relation.SUBAGENT,
                     new_id)  # fmt: skip
    return Match(said.because, 1.0, evidence, new_id=new_id)


def _in_declared_run(question: Question) -> Match:
    """The id names the run: history decides which of its chains the call belongs to."""
    said = question.declared
    chains = question.chains_of_run(said.run)
    where = f"{said.place} names the run {said.run}"
    step, alike = question.step, None
    main = next((chain for chain in chains if chain.id == said.run), chains[0] if chains else None)
    if said.is_subagent:  # it may have the history of the main agent, and is still another chain
        chains = [chain for chain in chains if chain is not main]
    if step and step.point.session in chains and step.way is not Way.FORK:
        return _continues(question, step.point.session, 0.99, f"{where}; {_reached(step)}")
    if chains and question.kind is Kind.MAIN:
        alike = question.alike
    if alike and alike.session in chains and alike.is_newest:
        return _continues(question, alike.session, 0.95, f"{where}; {alike.how}")
    if main is None:
        if step and step.way is not Way.FORK and not step.point.session.has_declared_id:
            return _continues(question, step.point.session, 0.95, f"{where}; {_reached(step)}")
        return _declared_newcomer(question, said.run, f"{where}, not heard of before")
    is_main_agent = main.head is None or main.agent_id == question.agent.id
    is_main_agent = is_main_agent and not said.is_subagent
    if question.kind is not Kind.MAIN or is_main_agent:
        return _continues(question, main, 0.9, f"{where}; this is its main agent")
    if step and step.point.session in chains:
        return _forks(question, step, f"{where}; {_reached(step)}")
    sender = question.errand.session if question.errand else main
    evidence = f"{where}; another agent with a history of its own"
    return Match(said.because, 0.9, evidence, None, None, None, sender.id, Relation.SUBAGENT)


def by_response_id(question: Question) -> Match | None:
    """The call names the reply that it goes on from."""
    point = question.answered
    if point is None or (point.depth == 0 and question.step is not None):
        return None  # the reply to a warming-up says less than a history does
    evidence = f"it goes on from the reply {question.call.previous_response_id}"
    step = question.step
    if step and step.point.session is point.session and step.way in (Way.RETRY, Way.AGAIN):
        return Match(Because.RETRY, 0.95, f"{evidence}, again", point.session, again=step.point)
    if lineage.is_on_path(point):
        return Match(Because.RESPONSE_ID, 0.99, evidence, point.session, before=point)
    evidence += f", from which {point.session.id} has gone on with something else"
    return Match(Because.RESPONSE_ID, 0.95, evidence, None, point, None, point.session.id,
                 Relation.FORK)  # fmt: skip


def by_errand(question: Question) -> Match | None:
    """A live session's history, and then an errand that its model has just given: a sub-agent."""
    step = question.step
    if step is None or step.at == len(question.history.units) or not question.handed_on:
        return None
    sender = step.point.session.id
    evidence = f"it has the history of {sender}, and then an errand that this one gave to a tool"
    evidence += f": {question.handed_on[:30]!r}"
    return Match(Because.HISTORY, 0.9, evidence, None, None, None, sender, Relation.SUBAGENT)


def by_history(question: Question) -> Match | None:
    """The history goes on from where a live session stands, or leaves one at an earlier point."""
    step = question.step
    if step is None:
        return None
    if step.way in (Way.FORK, Way.GROWN) and question.alike and question.alike.at > step.at:
        return None  # something in the middle was rewritten; what came after it is known
    if step.way is Way.FORK and question.kind is Kind.MAIN:  # what is asked beside begins nothing
        return _forks(question, step, _reached(step))
    confidence = RIVALLED if step.rivals else _CONFIDENCE[step.way]
    because = Because.RETRY if step.way in (Way.RETRY, Way.AGAIN) else Because.HISTORY
    return _continues(question, step.point.session, confidence, _reached(step), because)


def by_compaction(question: Question) -> Match | None:
    """The same agent opens with what a reply of ours said: a summary of what went before.

    Or a call that asks for the summary tells the conversation as one text, whoever writes it.
    """
    quote = question.summary
    if quote is None or quote.session.calls < 2:
        return None
    if question.kind is Kind.COMPACTION:
        evidence = f"it retells {quote.session.id}, to sum it up ({quote.what})"
    elif quote.session.agent_id == question.agent.id:
        evidence = f"it opens with a summary that {quote.session.id} wrote ({quote.what})"
    else:
        return None
    return Match(Because.COMPACTION, 0.9, evidence, quote.session, before=quote.session.head)


def by_likeness(question: Question) -> Match | None:
    """The history is not exactly known, but alike beyond the threshold."""
    alike = question.alike
    if alike is None:
        return None
    evidence = f"{alike.how} as in {alike.session.id} (likeness {alike.score:.2f})"
    if alike.rivals:
        evidence += f"; {alike.rivals} more are as alike"
    confidence = RIVALLED if alike.rivals else round(0.95 * alike.score, 2)
    session, history = alike.session, question.history
    is_again = bool(history.units) and session.asked == history.units[-1].digest
    if alike.is_newest or is_again or question.kind is not Kind.MAIN:
        again = session.newest_call if is_again and not alike.is_newest else None
        return Match(Because.LIKENESS, confidence, evidence, session, session.head, again)
    evidence += ", which has gone on from there"
    return Match(Because.LIKENESS, confidence, evidence, None, None, None, session.id,
                 Relation.FORK)  # fmt: skip


def by_opening(question: Question) -> Match | None:
    """A side call quotes the first words of a conversation, or has just come before it."""
    scope, now, openings = question.client.scope, question.now, question.memory.openings
    if question.kind is Kind.MAIN:
        if question.history.model_units():
            return None
        found = openings.asides_on(first_words(question.opening), scope, now)
        evidence = "a side call that quotes its first words came just before, in"
    else:
        found = openings.quoted_by("\n".join(question.opening), scope, now)
        evidence = "it quotes the first words of"
    if not found:
        return None
    near = [one for one in found if one.client.connection == question.client.connection] or found
    evidence += f" {near[-1].id}" + (f"; {len(near) - 1} more fit as well" * (len(near) > 1))
    confidence = RIVALLED if len(near) > 1 else 0.8
    return Match(Because.HISTORY, confidence, evidence, near[-1])


def by_connection(question: Question) -> Match | None:
    """Calls without a history, as embeddings, go with others of their kind on one connection."""
    if not question.company:
        return None
    live = question.memory.live(question.memory.companies.get(question.company), question.now)
    if not live:
        return None
    evidence = f"a {question.kind} call on the connection of {live[-1].id}; nothing tells more"
    return Match(Because.HISTORY, 0.5, evidence, live[-1])


def newcomer(question: Question) -> Match:
    """Nothing matched: a new session, sent by another where its opening is an errand."""
    if question.errand is not None:
        sender, text = question.errand
        evidence = f"its opening is an errand that {sender.id} gave to a tool: {text[:30]!r}"
        return Match(Because.NEW, 0.9, evidence, None, None, None, sender.id, Relation.SUBAGENT)
    if question.history.model_units():
        return Match(Because.NEW, 0.5, "a history whose beginning was not seen")
    if question.memory.points.get(question.history.end):
        evidence = "the same opening as another session, but nothing that a model said is shared"
        return Match(Because.NEW, 0.8, evidence)
    return Match(Because.NEW, 0.9, "an opening not heard before")


def reset(question: Question, match: Match) -> Match | None:
    """A person says "start over": a new session, whatever the history that is still sent along."""
    is_said = match.because in (Because.HEADER, Because.BODY)
    if is_said or match.session is None or match.again or not question.reset_phrase:
        return None
    evidence = f"the newest message begins with {question.reset_phrase!r}; before, {match.evidence}"
    return Match(match.because, 0.9, evidence, None, None, None, match.session.id, Relation.RESET)


def _continues(
    question: Question,
    session: Session,
    confidence: float,
    evidence: str,
    because: Because | None = None,
) -> Match:
    """A session goes on: from the point its history has reached, or from wherever it stands."""
    because = because or question.declared.because
    step = question.step
    if step is None or step.point.session is not session:
        return Match(because, confidence, evidence, session, before=session.head)
    if step.way in (Way.RETRY, Way.AGAIN):
        return Match(because, confidence, evidence, session, again=step.point)
    return Match(because, confidence, evidence, session, before=step.point)


def _forks(question: Question, step: Step, evidence: str) -> Match:
    because = question.declared.because if question.declared.run else Because.HISTORY
    return Match(because, 0.9, evidence, None, step.point, None, step.point.session.id,
                 Relation.FORK)  # fmt: skip


def _reached(step: Step) -> str:
    evidence = f"{_WAYS[step.way]} {step.point.session.id} ({step.at} things said are known)"
    return evidence + (f"; {step.rivals} more fit as well" if step.rivals else "")


_CONFIDENCE = {Way.RETRY: 0.95, Way.ON: 0.99, Way.AGAIN: 0.9, Way.GROWN: 0.85, Way.FORK: 0.9}
_WAYS = {
    Way.RETRY: "the same call again, which failed in",
    Way.ON: "it goes on from the newest reply of",
    Way.AGAIN: "the same call again, as answered in",
    Way.GROWN: "it goes on from an unfinished call of",
    Way.FORK: "it leaves an earlier point of",
}
