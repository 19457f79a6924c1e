"""The command `callerid import`: what was recorded elsewhere, taken into a traces.db."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from callerid import files
from callerid.commands import reading
from callerid.commands.identify_command import configuration_of, read_recording
from callerid.figures import plural
from callerid.recordings import calls
from callerid.recordings.importing import import_calls
from callerid.recordings.merging import merge
from callerid.recordings.recorded import BadLine, RecordedCall
from callerid.settings.checked import BadSetting
from callerid.settings.load import Configuration
from callerid.traces.database import BadDatabase


@click.command("import")
@click.argument(
    "sources", nargs=-1, required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)  # fmt: skip
@click.option("--anew", is_flag=True, help="Identify again what `callerid export` wrote, too.")
@click.option("--config", default="", help="Settings; see config/callerid.yaml.")
@reading.db_option
def import_(sources: tuple[Path, ...], anew: bool, config: str, db: Path | None) -> None:
    """Write calls that were recorded elsewhere into the traces, and say whose they are.

    SOURCES are what `callerid export` wrote (JSON lines, HAR), other HAR, JSON lines as `callerid
    identify` reads them, mitmproxy flow files, session files of Claude Code, or the traces.db of
    another proxy, which keeps its ids. Files that tell of the same time belong in one command. What
    is there already is not added again.
    """
    path = db or files.traces()
    configuration = configuration_of(config)
    found: list[RecordedCall] = []
    broken = 0
    for source in sources:
        try:
            if calls.is_traces(source):
                merged = merge(path, source)
                click.echo(
                    f"{source}: {plural(merged.calls, 'new call')}, "
                    f"{plural(merged.sessions, 'new session')}"
                )
                continue
            read, troubles = read_recording(source, Console(stderr=True))
        except BadDatabase as error:  # it names the file
            raise click.ClickException(str(error)) from None
        except (BadLine, OSError, EOFError) as error:
            raise click.ClickException(f"{source}: {error}") from None
        found += read
        broken += troubles
    if found:
        _import(found, path, configuration, anew=anew)
    sys.exit(1 if broken else 0)


def _import(
    found: list[RecordedCall], path: Path, configuration: Configuration, *, anew: bool
) -> None:  # fmt: skip
    try:
        done = import_calls(found, path, configuration, anew=anew)
    except (BadDatabase, BadSetting) as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{path}: {plural(done.new, 'new call')} in {plural(done.sessions, 'session')}; "
        f"{done.known:,} {_were(done.known)} there, "
        f"{done.others:,} {'is no LLM call' if done.others == 1 else 'are no LLM calls'}"
    )


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
