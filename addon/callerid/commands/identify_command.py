"""The commands `callerid identify` and `callerid explain`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from callerid import files
from callerid.identity.explain import Rung
from callerid.recordings import calls
from callerid.recordings.explaining import Explained, explained
from callerid.recordings.recorded import BadLine, RecordedCall
from callerid.recordings.reidentify import Identified, changes, reidentify
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration, load
from callerid.traces.database import BadDatabase

SHOWN_CHANGES = 20


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.File("wb"), help="Write one JSON object a call.")
@click.option("--explain", is_flag=True, help="Add the ladder to what is written.")
@click.option("--diff", "old", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Show what changed since an earlier output.")  # fmt: skip
@click.option("--config", default="", help="Settings; see config/callerid.yaml.")
def identify(
    source: Path, output: IO[bytes] | None, explain: bool, old: Path | None, config: str
) -> None:
    """Identify recorded calls as the proxy would have done, and print a summary.

    SOURCE is JSON lines (.gz and .xz too), HAR, a mitmproxy flow file, or a traces.db, of which
    it shows what would change.
    """
    console = Console(stderr=True)
    configuration = configuration_of(config)
    try:
        found, broken = read_recording(source, console)
        earlier = _sessions(old) if old else {}
    except BadDatabase as error:  # it names the file
        raise click.ClickException(str(error)) from None
    except (BadLine, OSError, EOFError) as error:
        raise click.ClickException(f"{source}: {error}") from None
    if not found:
        console.print(f"{source}: there is no call in it", soft_wrap=True)
    began = time.perf_counter()
    identified = list(
        track(
            reidentify(found, configuration, explains=explain),
            total=len(found), description="identifying", console=console, transient=True,
            disable=not console.is_terminal,
        )
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if output is not None:
        for each in identified:
            output.write(msgspec.json.encode(answer(each)) + b"\n")
    Console().print(summary(identified, seconds))
    recorded = {c.id: c.record.identity.session_id for c in found if c.record}
    before = earlier or recorded
    if before:
        _print_changes(before, identified)
    sys.exit(1 if broken else 0)


def configuration_of(path: str) -> Configuration:
    """The settings of a file; what is wrong with them is said in a line."""
    try:
        return load(path)
    except BadSetting as error:
        raise click.ClickException(str(error)) from None


def read_recording(source: Path, console: Console) -> tuple[list[RecordedCall], int]:
    """The calls in a file, and how many of its lines hold none that can be read, each said.

    Raises BadDatabase, BadLine, OSError, EOFError.
    """
    from callerid.proxy.flowfile import read_flows

    found: list[RecordedCall] = []
    broken = 0
    for line in calls.read(source, read_flows):
        if line.call is not None:
            found.append(line.call)
            continue
        broken += 1
        console.print(f"{source}:{line.number}: {line.trouble}", style="red", soft_wrap=True)
    if broken:
        console.print(f"{broken} line{'s' * (broken > 1)} skipped", style="red")
    return found, broken


def answer(each: Identified) -> dict[str, object]:
    """The identity of a call, as one line of output."""
    identity = each.identity
    if identity is None:
        return {"id": each.call.id, "session_id": None, "evidence": "no LLM call"}
    said: dict[str, object] = {
        "id": each.call.id,
        "session_id": identity.session_id,
        "parent_session_id": identity.parent_session_id or None,
        "root_session_id": identity.root_session_id,
        "relation": identity.relation,
        "agent_id": identity.agent_id,
        "kind": identity.kind,
        "because": identity.because,
        "confidence": identity.confidence,
        "evidence": identity.evidence,
    }
    return {**said, "ladder": [rung._asdict() for rung in each.ladder]} if each.ladder else said


def summary(identified: Iterable[Identified], seconds: float) -> Table:
    """How many calls, sessions and agents, and how they were recognised."""
    identities = [each.identity for each in identified if each.identity]
    others = sum(1 for each in identified if not each.identity)
    table = Table(show_header=False, box=None)
    table.add_row("calls", f"{len(identities):,}" + (f" (and {others} others)" if others else ""))
    table.add_row("sessions", f"{len({i.session_id for i in identities}):,}")
    table.add_row("agents", f"{len({i.agent_id for i in identities}):,}")
    for name in ("because", "kind", "relation"):
        counts = Counter(str(getattr(i, name)) for i in identities if getattr(i, name))
        shown = ", ".join(f"{word} {count:,}" for word, count in counts.most_common())
        table.add_row(name, shown or "none")
    table.add_row("time", f"{seconds:.1f} s, {len(identities) / max(seconds, 1e-9):,.0f} calls/s")
    return table


def _sessions(path: Path) -> dict[str, str]:
    """The sessions by call in an earlier output of ours; raises ClickException."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            said = msgspec.json.decode(line, type=dict[str, object])
            found[str(said["id"])] = str(said["session_id"])
        except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
            raise click.ClickException(
                f"{path}:{number}: expected what `identify -o` writes: an object with id and "
                f"session_id, got {line[:40].decode('utf-8', 'replace')!r}"
            ) from None
    return found


def _print_changes(before: dict[str, str], identified: list[Identified]) -> None:
    after = {each.call.id: each.identity.session_id for each in identified if each.identity}
    changed = changes(before, after)
    console = Console()
    console.print(f"{len(changed)} of {len(after)} calls would be in another session")
    evidence = {each.call.id: each.identity.evidence for each in identified if each.identity}
    for change in changed[:SHOWN_CHANGES]:
        line = f"  {change.id}: {change.old} → {change.new}: {evidence[change.id]}"
        console.print(line, soft_wrap=True, highlight=False)
    if len(changed) > SHOWN_CHANGES:
        console.print(f"  and {len(changed) - SHOWN_CHANGES} more")


@click.command()
@click.argument("call_id", metavar="CALL")
@click.option("--db", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Where it was recorded: a traces.db, or what `identify` reads.")  # fmt: skip
@click.option("--config", default="", help="Settings; see config/callerid.yaml.")
def explain(call_id: str, db: Path | None, config: str) -> None:
    """Print the ladder for one recorded call: what each rung looked at, where it stopped, why.

    CALL is the id of a call, or of a session, for its newest call; or the beginning of one.
    """
    source = db or files.traces()
    if not source.exists():
        raise click.ClickException(f"{source}: there is no such file")
    configuration = configuration_of(config)
    try:
        found, _ = read_recording(source, Console(stderr=True))
    except BadDatabase as error:
        raise click.ClickException(str(error)) from None
    except (BadLine, OSError) as error:
        raise click.ClickException(f"{source}: {error}") from None
    ordered = sorted(found, key=lambda call: call.t)
    told = explained(ordered, _meant(call_id, found, source), configuration)
    assert told is not None, "it is one of those"
    Console().print(_told(told), soft_wrap=True, highlight=False)


def _meant(wanted: str, found: list[RecordedCall], source: Path) -> str:
    """The id of the call that is meant; raises ClickException where it is none, or several."""
    of_session = [c.id for c in found if c.record and c.record.identity.session_id == wanted]
    if of_session:
        return of_session[-1]
    ids = [call.id for call in found]
    meant = [wanted] if wanted in ids else [id for id in ids if id.startswith(wanted)]
    if not meant:
        newest = {c.record.identity.session_id: c.id for c in found if c.record}
        meant = [id for session, id in newest.items() if session.startswith(wanted)]
    if len(meant) == 1:
        return meant[0]
    several = f"{len(meant)} calls or sessions begin so: {', '.join(meant[:3])} ..."
    none = f"there is no call and no session {wanted}"
    raise click.ClickException(f"{source}: {several if meant else none}")


def _told(told: Explained) -> str:
    each = told.identified
    record = each.call.record
    identity = record.identity if record else each.identity
    if identity is None:
        return f"{each.call.id} is no LLM call"
    lines = [
        f"{each.call.id} is of {identity.session_id}",
        f"  because {identity.because} {identity.confidence:.2f}: {identity.evidence}",
        "The ladder, climbed again:",
        *(line for rung in told.ladder for line in _rung_lines(rung)),
    ]
    return "\n".join(lines)


def _rung_lines(rung: Rung) -> Iterator[str]:
    yield f"  {'●' if rung.decided else '○'} {rung.name}: looked at {rung.looked_at}"
    yield f"      {rung.found}"
