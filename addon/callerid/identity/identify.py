"""The ladder: whose call this is, by the strongest evidence there is."""

from __future__ import annotations

from callerid.identity import lineage
from callerid.identity.declaration import by_declaration
from callerid.identity.lineage import Way
from callerid.identity.match import CONFIDENCE, RIVALLED, Match, continues, forks, reached
from callerid.identity.openings import first_words
from callerid.identity.question import Question
from callerid.turn import Because, Kind, Relation


def identify(question: Question) -> Match:
    """Say whose call this is. Never fails; may say NEW."""
    match = (
        by_declaration(question)
        or by_response_id(question)
        or by_errand(question)
        or by_history(question)
        or by_prompt(question)
        or by_tool_id(question)
        or by_compaction(question)
        or by_likeness(question)
        or by_opening(question)
        or by_connection(question)
        or newcomer(question)
    )
    return reset(question, match) or match


def by_response_id(question: Question) -> Match | None:
    """The call names the reply that it goes on from."""
    point = question.answered
    if point is None or (point.depth == 0 and question.step is not None):
        return None  # the reply to a warming-up says less than a history does
    evidence = f"it goes on from the reply {question.answered_id}"
    step = question.step
    is_after = step and step.at and question.history.start == point.link
    if step and is_after and step.way not in (Way.RETRY, Way.AGAIN):
        return None  # what the model said after that reply is said again, and is known
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
    if step.way in (Way.FORK, Way.GROWN) and question.known_to > step.at:
        return None  # something in the middle was rewritten; what came after it is known
    if step.way is Way.FORK and question.kind is Kind.MAIN:  # what is asked beside begins nothing
        return forks(question, step, reached(step))
    confidence = RIVALLED if step.rivals else CONFIDENCE[step.way]
    because = Because.RETRY if step.way in (Way.RETRY, Way.AGAIN) else Because.HISTORY
    return continues(question, step.point.session, confidence, reached(step), because)


def by_prompt(question: Question) -> Match | None:
    """The prompt is that of a live session, with its model's reply and more behind it."""
    grown = question.grown
    if grown is None:
        return None
    session = grown.session
    evidence = f"it begins with the prompt and the reply of {session.id} ({grown.letters} letters)"
    if grown.rivals:
        evidence += f"; {grown.rivals} more fit as well"
    if grown.is_newest:
        confidence = RIVALLED if grown.rivals else CONFIDENCE[Way.ON]
        return Match(Because.HISTORY, confidence, evidence, session, before=grown.reply)
    evidence += ", which has gone on with something else"
    return Match(Because.HISTORY, CONFIDENCE[Way.FORK], evidence, None, grown.reply, None,
                 session.id, Relation.FORK)  # fmt: skip


def by_tool_id(question: Question) -> Match | None:
    """The newest tool call has the id of that which a session's model has made last."""
    session = question.awaited
    if session is None:
        return None
    evidence = f"its newest tool call has the id that it got in the newest reply of {session.id}"
    return Match(Because.HISTORY, 0.9, evidence, session, before=session.head)


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
    if (other := question.handed_over) is not None:
        evidence = f"it opens as {other.id} did, which waits for a tool, and tells more"
        return Match(Because.NEW, 0.8, evidence, None, None, None, other.id, Relation.SUBAGENT)
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
