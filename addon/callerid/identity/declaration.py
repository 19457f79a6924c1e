"""The highest rung: the client says which session a call is of, or in which run."""

from __future__ import annotations

from callerid.identity.lineage import Way
from callerid.identity.match import Match, continues, forks, reached
from callerid.identity.question import Question
from callerid.identity.session import Point, Session
from callerid.turn import Kind, Relation


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
        return continues(question, known, 1.0, f"{said.place} says so")
    step = question.step
    is_another = step is None or step.way is Way.FORK or said.relation is Relation.FORK
    if step and not is_another and not step.point.session.has_declared_id:
        evidence = f"{said.place} now names the session that this history goes on from"
        return continues(question, step.point.session, 0.95, evidence)
    evidence = f"{said.place} names a session not heard of before"
    return _declared_newcomer(question, said.session, evidence)


def _declared_newcomer(question: Question, new_id: str, evidence: str) -> Match:
    said = question.declared
    if said.parent:
        known = question.session_declared(said.parent)
        parent_id = known.id if known else said.parent
        evidence += f"; its parent is declared: {parent_id}"
        if said.relation is Relation.FORK and said.fork_point:
            evidence += f", left at {said.fork_point}"
        before = _left(question) if said.relation is Relation.FORK else None
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


def _left(question: Question) -> Point | None:
    """The point that a declared fork leaves: of a call that is asked again, what came before it."""
    step = question.step
    if step is None:
        return None
    return step.point.before if step.way in (Way.RETRY, Way.AGAIN) else step.point


def _in_declared_run(question: Question) -> Match | None:
    """The id names the run: history decides which of its chains the call belongs to."""
    said, step = question.declared, question.step
    where = f"{said.place} names the run {said.run}"
    main = question.main_of_run
    if step and step.way is not Way.FORK and _may_be(step.point.session, question, main):
        return continues(question, step.point.session, 0.99, f"{where}; {reached(step)}")
    alike = question.alike if question.kind is Kind.MAIN else None
    if alike and alike.is_newest and _may_be(alike.session, question, main):
        return continues(question, alike.session, 0.95, f"{where}; {alike.how}")
    if main is None and not said.is_subagent:
        if step and step.way is not Way.FORK and not step.point.session.has_declared_id:
            return continues(question, step.point.session, 0.95, f"{where}; {reached(step)}")
        return _declared_newcomer(question, said.run, f"{where}, not heard of before")
    if main is not None and (question.kind is not Kind.MAIN or _is_main_again(question, main)):
        return continues(question, main, 0.9, f"{where}; this is its main agent")
    if step and step.point.session.run == said.run:
        return forks(question, step, f"{where}; {reached(step)}")
    return _joins_run(question, main, where)


def _may_be(session: Session, question: Question, main: Session | None) -> bool:
    """Whether a session is one of the declared run that this call may go on with.

    A sub-agent's call may have the history of the main agent, and is still another chain.
    """
    said = question.declared
    return session.run == said.run and not (said.is_subagent and session is main)


def _is_main_again(question: Question, main: Session) -> bool:
    """Whether the main agent of a run speaks, though not a word of its history is known.

    Agents rewrite their histories, and one program has one main agent. A gateway's run may hold
    many conversations of one agent: there an opening is the opening of another one.
    """
    if question.declared.is_subagent:
        return False
    if main.head is None:
        return True
    is_opening = not question.history.model_units()
    if is_opening and not question.declared.is_of_agent:
        return False
    return main.agent_id == question.agent.id


def _joins_run(question: Question, main: Session | None, where: str) -> Match:
    """A new chain in a run: another agent's, or another conversation of the same one."""
    said = question.declared
    sender = question.errand.session.id if question.errand else main.id if main else said.run
    is_same_agent = main is not None and main.agent_id == question.agent.id
    if is_same_agent and question.errand is None and not said.is_subagent:
        return Match(said.because, 0.8, f"{where}; another conversation of its agent opens")
    evidence = f"{where}; another agent with a history of its own"
    return Match(said.because, 0.9, evidence, None, None, None, sender, Relation.SUBAGENT)
