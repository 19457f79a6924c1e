"""The command `callerid replay`: a session's calls made again, and what changed, side by side."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import urlsplit

import click
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text
from sqlite_utils import Database

from callerid import figures
from callerid.again import comparing, declaring, elsewhere, estimate, rebuild, sending
from callerid.again.comparing import Side
from callerid.again.endpoints import Endpoint, at_host, carried, endpoint
from callerid.again.estimate import Estimate
from callerid.again.keys import Credential
from callerid.again.rebuild import CannotGoOn, Origin, Prepared
from callerid.again.sending import Answer, CannotSend
from callerid.archive import calls, sessions
from callerid.archive.sessions import Filter, NotFound
from callerid.commands import asking as together
from callerid.commands import reading
from callerid.commands.asking import Asking
from callerid.credentials import MASK
from callerid.turn import Kind, Relation

UNSAID_KEY = "a-key-that-no-dry-run-says"


class Step(NamedTuple):
    """A call to be made again: the one on record, the request, and who is asked.

    `other` is another provider, None where it is the same; `is_told` is where it speaks another
    dialect, so that the request is only an approximation.
    """

    origin: Origin
    prepared: Prepared
    other: Endpoint | None = None
    is_told: bool = False


@click.command()
@click.argument("session", metavar="SESSION")
@click.option("--model", default="", metavar="M", help="Ask another model.")
@click.option("--provider", default="", metavar="P", help="Ask another provider; say --model too.")
@click.option("--base-url", default="", metavar="URL", help="Where that provider is.")
@click.option("--from", "first", default="", metavar="CALL", help="Begin with this call.")
@together.options
def replay(
    session: str, model: str, provider: str, base_url: str, first: str, **options: object
) -> None:
    """Make the calls of a session again, and show side by side what changed.

    \b
    callerid replay sess_01a1fe56
    callerid replay sess_01a1fe56 --model claude-haiku-4-5 --from call_01a1fe56
    callerid replay sess_01a1fe56 --provider gemini --model gemini-2.5-flash

    Each call is sent as it was, with the history that it had; tools that the answers ask for are
    shown, not run. The new calls are a session of their own, forked from this one. A provider that
    speaks another dialect gets what can be told in it (pip install 'callerid[client]').
    """
    with together.told():
        asking = together.asking(**options)  # type: ignore[arg-type]
        other = _other(asking, provider, base_url, model)
        with reading.opened(asking.db) as database:
            id = sessions.session_id(database, session)
            origins, left_out = _origins(database, id, first)
        steps = [_step(asking, each, model, other) for each in origins]
        for line in left_out:
            click.echo(f"left out: {line}", err=True)
        root = origins[0].facts.root_session_id or ""
        point = f"the request of {origins[0].facts.id}"
        declared = declaring.headers(declaring.new_session_id(), id, Relation.FORK, point, root)
        if asking.dry_run:
            _print_all(asking, steps, declared)
            return
        sys.exit(_replay(asking, steps, declared))


def _other(asking: Asking, provider: str, base_url: str, model: str) -> Endpoint | None:
    if not provider and not base_url:
        return None
    if not model:
        raise click.UsageError("--provider wants --model, too: no two have the same")
    key = os.environ.get(asking.key_from, "") if asking.key_from else ""
    if asking.dry_run:
        key = UNSAID_KEY  # nothing is sent
    providers = asking.configuration.providers
    return endpoint(providers, provider, os.environ, base_url=base_url, key=key)


def _origins(database: Database, session_id: str, first: str) -> tuple[list[Origin], list[str]]:
    """The main calls of a session, and in words those that cannot be made again."""
    facts = [
        each
        for each in calls.calls(database, Filter(session=session_id))
        if each.kind == Kind.MAIN and each.state != "in_flight"
    ]
    if first:
        begin = sessions.call_id(database, first)
        places = [at for at, each in enumerate(facts) if each.id == begin]
        if not places:
            raise NotFound(f"{begin} is no main call of {session_id}")
        facts = facts[places[0] :]
    found: list[Origin] = []
    left_out: list[str] = []
    for each in facts:
        try:
            found.append(rebuild.origin(database, session_id, each.id))
        except CannotGoOn as error:
            left_out.append(str(error))
    if not found:
        raise CannotGoOn("; ".join(left_out) or f"session {session_id} has no main call")
    return found, left_out


def _step(asking: Asking, origin: Origin, model: str, other: Endpoint | None) -> Step:
    prepared = rebuild.same_again(origin, model)
    row = at_host(asking.configuration.providers, prepared.facts.host)
    if other is None or (row is not None and row.name == other.provider):
        return Step(origin, prepared)
    if other.dialect is prepared.dialect:
        return Step(origin, elsewhere.at_endpoint(prepared, other), other)
    return Step(origin, prepared, other, is_told=True)


def _print_all(asking: Asking, steps: list[Step], declared: dict[str, str]) -> None:
    for step in steps:
        if not step.is_told or step.other is None:
            together.print_curl(asking, step.prepared, declared)
            continue
        click.echo(f"# {step.origin.facts.id}: {_telling(step, step.other)}")
        once, call = _once(), elsewhere.neutral(step.origin)
        made = once.written(step.other, step.prepared.model, call, declared)
        headers = [(name, value.replace(step.other.key, MASK)) for name, value in made.headers]
        facts = elsewhere.placed(step.prepared.facts, made.url)
        together.print_request(asking, facts, headers, made.body)


def _telling(step: Step, other: Endpoint) -> str:
    return f"told in the words of {other.provider} ({step.prepared.dialect} → {other.dialect})"


def _replay(asking: Asking, steps: list[Step], declared: dict[str, str]) -> int:
    """Make the calls again; 1 where one of them failed."""
    credentials = [_credential(asking, step) for step in steps]
    told = next((step for step in steps if step.is_told), None)
    if told is not None and told.other is not None:
        what = "without thoughts, images, and tools that a provider runs itself"
        click.echo(f"{_telling(told, told.other)}, {what}", err=True)
    expected = estimate.total(_expected(asking, step) for step in steps)
    count = f"{len(steps)} call{'s' * (len(steps) > 1)}"
    together.agree(asking, f"{count} to {steps[0].prepared.model}", expected)
    console, costs, failures = reading.console(), [], 0
    with together.way(asking) as way:
        for step, credential in zip(steps, credentials, strict=True):
            answer = _send(step, credential, declared, *way)
            side = comparing.now(answer, step.prepared.model, _cost(asking, step, answer))
            costs.append(side.cost)
            failures += bool(side.trouble)
            _show(console, step, comparing.then(step.origin), side)
    id = declared["x-callerid-session-id"]
    click.echo(f"{together.in_words(estimate.total(costs))} · on record in {id}", err=True)
    return 1 if failures else 0


def _credential(asking: Asking, step: Step) -> Credential:
    if step.other is None:
        return asking.credential(step.prepared)
    row = next(
        (r for r in asking.configuration.providers.providers if r.name == step.other.provider), None
    )
    header = row.header if row else "authorization"
    return Credential(header, carried(header, step.other.key))


def _provider(asking: Asking, step: Step) -> str:
    return step.other.provider if step.other else asking.provider(step.prepared)


def _expected(asking: Asking, step: Step) -> Estimate:
    facts = step.origin.facts
    return estimate.before(
        asking.prices, _priced(step), _provider(asking, step), facts.input_tokens,
        facts.output_tokens, time.time(),
    )  # fmt: skip


def _cost(asking: Asking, step: Step, answer: Answer) -> Estimate:
    return estimate.after(
        asking.prices, _priced(step), _provider(asking, step), answer.reply, time.time()
    )


def _priced(step: Step) -> Prepared:
    """The request as it is priced: by who is really asked."""
    if step.other is None or not step.is_told:
        return step.prepared
    host = urlsplit(step.other.base_url).hostname or ""
    return step.prepared._replace(facts=replace(step.prepared.facts, host=host, path="/"))


def _send(
    step: Step, credential: Credential, declared: dict[str, str], proxy: str, authority: Path
) -> Answer:
    if not step.is_told or step.other is None:
        headers = (*declared.items(), *credential.headers)
        return sending.send(step.prepared, headers, proxy, authority)
    once, call = _once(), elsewhere.neutral(step.origin)
    answer: Answer = once.ask(step.other, step.prepared.model, call, declared, proxy, authority)
    return answer


def _once() -> ModuleType:
    """What asks in another dialect; raises CannotSend where it is not installed."""
    try:
        from callerid.client import once
    except ImportError as error:
        raise CannotSend(str(error)) from None
    return once


def _show(console: Console, step: Step, then: Side, now: Side) -> None:
    console.print(Text(step.origin.facts.id, style="bold"))
    table = reading.table("", "then", "now")
    table.add_row("model", reading.cell(then.model), reading.cell(now.model))
    for name, shown in (("tokens", _tokens), ("cost", _dollars), ("first byte", _first_byte)):
        table.add_row(name, shown(then), shown(now))
    console.print(table)
    _print_changes(console, then, now)


def _print_changes(console: Console, then: Side, now: Side) -> None:
    """The words and the tool calls, as a diff where they are not the same."""
    if now.trouble or then.trouble:
        console.print(reading.cell(f"then: {then.trouble or 'ok'}; now: {now.trouble or 'ok'}"))
    for line in comparing.difference(then, now):
        style = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "")
        console.print(Text(reading.shown(line), style=style), soft_wrap=True)
    if then.text == now.text and then.text:
        console.print(Text(f"the same words ({len(now.text):,} characters)", style="dim"))
    for mark, style, wishes in (
        (" ▸", "dim", [wish for wish in then.tools if wish in now.tools]),
        ("-▸", "red", [wish for wish in then.tools if wish not in now.tools]),
        ("+▸", "green", [wish for wish in now.tools if wish not in then.tools]),
    ):
        for wish in wishes:
            console.print(Text(f"{mark} {reading.shown(wish)}", style=style), soft_wrap=True)


def _tokens(side: Side) -> str:
    return reading.tokens(side.cost.input_tokens, side.cost.output_tokens)


def _dollars(side: Side) -> str:
    return figures.dollars(side.cost.usd) or "unknown"


def _first_byte(side: Side) -> str:
    return figures.duration(side.first_byte)
