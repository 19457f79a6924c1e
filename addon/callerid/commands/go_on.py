"""The commands `callerid continue` and `fork`: a session goes on from what is on record of it."""

from __future__ import annotations

import sys
import time

import click

from callerid import figures
from callerid.again import declaring, estimate, rebuild, sending
from callerid.again.rebuild import Origin
from callerid.again.sending import Answer
from callerid.again.speech import tools_asked
from callerid.archive import calls
from callerid.archive.sessions import Filter, NotFound
from callerid.commands import asking as together
from callerid.commands import reading
from callerid.commands.asking import Asking
from callerid.turn import Relation

SESSION = "x-callerid-session-id"


@click.command("continue")
@click.argument("session", metavar="SESSION")
@click.argument("text")
@together.options
def continue_(session: str, text: str, **options: object) -> None:
    """Say something more in a session on record, as its agent would have.

    \b
    callerid continue sess_01a1fe56 "And is it safe to walk there?"

    The request is the one of its newest call, with the reply to that and TEXT: same prompt, tools
    and parameters. The answer comes as a stream; tools that it asks for are shown, not run. The
    turn is recorded in the same session. It costs money: what it will cost is said before.
    """
    with together.told():
        asking = together.asking(**options)  # type: ignore[arg-type]
        with reading.opened(asking.db) as database:
            id, call_id = rebuild.found(database, session)
            if call_id:
                raise NotFound(f"{call_id} is a call; to go on from there: callerid fork")
            origin = rebuild.origin(database, id)
            facts = origin.facts
            spent = estimate.usual(calls.calls(database, Filter(session=id)))
        declared = declaring.headers(
            id,
            facts.parent_session_id or "",
            facts.relation or "",
            root=facts.root_session_id or "",
        )
        _say(asking, origin, text, declared, spent)


@click.command()
@click.argument("wanted", metavar="SESSION|CALL")
@click.argument("text")
@click.option("--at", type=int, default=None, metavar="N",
              help="Keep the first N messages (below 0: all but the last N).")  # fmt: skip
@together.options
def fork(wanted: str, text: str, at: int | None, **options: object) -> None:
    """Say something else at an earlier point of a session: in a new one, forked from it.

    \b
    callerid fork sess_01a1fe56 --at 2 "No, at Brest."
    callerid fork call_01a1fe56 "Why?"             after the reply to that call

    The new session has the old one as its parent, and `relation = fork`.
    """
    with together.told():
        asking = together.asking(**options)  # type: ignore[arg-type]
        with reading.opened(asking.db) as database:
            id, call_id = rebuild.found(database, wanted)
            origin = rebuild.origin(database, id, call_id)
            origin = origin if at is None else rebuild.cut(origin, at)
            spent = estimate.usual(calls.calls(database, Filter(session=id)))
        root = origin.facts.root_session_id or ""
        declared = declaring.headers(
            declaring.new_session_id(), id, Relation.FORK, origin.point, root
        )
        _say(asking, origin, text, declared, spent)


def _say(
    asking: Asking, origin: Origin, text: str, declared: dict[str, str], spent: int | None
) -> None:
    prepared = rebuild.going_on(origin, text)
    if asking.dry_run:
        together.print_curl(asking, prepared, declared)
        return
    credential, provider = asking.credential(prepared), asking.provider(prepared)
    given = estimate.grown(origin.facts, text, len(prepared.body))
    expected = estimate.before(asking.prices, prepared, provider, given, spent, time.time())
    together.agree(asking, f"{prepared.model} at {prepared.facts.host}", expected)
    with together.way(asking) as (proxy, certificate):
        headers = (*declared.items(), *credential.headers)
        answer = sending.send(prepared, headers, proxy, certificate, _tell)
    click.echo()
    cost = estimate.after(asking.prices, prepared, provider, answer.reply, time.time())
    _finish(answer, declared[SESSION], together.in_words(cost))


def _tell(text: str) -> None:
    click.echo(reading.shown(text), nl=False)


def _finish(answer: Answer, session_id: str, cost: str) -> None:
    """Say what else the answer holds, what it has cost, and where it is on record."""
    for wish in tools_asked(answer.reply.messages):
        click.echo(f"▸ {reading.shown(wish)} (shown, not run)")
    first = figures.duration(answer.first_byte) or "never came"
    recorded = answer.headers.get(SESSION, "")
    where = f"in {recorded}" if recorded else "nowhere: the proxy is no callerid"
    click.echo(f"{cost} · first byte {first} · on record {reading.shown(where)}", err=True)
    if recorded and recorded != session_id:
        click.echo(f"not in {session_id}: that is another key's (see README)", err=True)
    reply = answer.reply
    if answer.status >= 400 or reply.error:
        what = reading.shown(reply.error_message or reply.error)
        click.echo(f"Error: the provider says {answer.status}: {what}", err=True)
        sys.exit(1)
