"""The command `callerid explore`: the explorer without a proxy."""

from __future__ import annotations

import secrets
import threading
import webbrowser
from pathlib import Path
from urllib.parse import urlencode

import click
from msgspec.structs import replace

from callerid import files
from callerid.archive.search import bring_up_to_date
from callerid.commands import reading
from callerid.explorer.app import Explorer
from callerid.operators.access import Access
from callerid.operators.server import Server
from callerid.settings.checked import BadSetting
from callerid.settings.load import load

TOKEN_BYTES = 24


@click.command()
@click.argument("db", type=click.Path(path_type=Path), required=False, metavar="[TRACES.DB]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="The port (default: any that is free).")  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option("--correct", "corrects", is_flag=True,
              help="Let the pages rename, merge, split and link, for whoever opens the address "
                   "that is printed: it has a token.")  # fmt: skip
@click.option("--config", default="", metavar="FILE",
              help="Settings: admin.host and admin.token say who else may look.")  # fmt: skip
def explore(db: Path | None, port: int, opens: bool, corrects: bool, config: str) -> None:
    """Look at a traces.db in the browser, also while a proxy writes it; Ctrl-C stops.

    The pages only read, unless there is a token. While the proxy runs they are at its own port
    too (8082).
    """
    path = db or files.traces()
    with reading.opened(path) as database:
        bring_up_to_date(database)
    try:
        configuration = load(config)
        admin = configuration.settings.admin
        if corrects and not admin.token:
            admin = replace(admin, token=secrets.token_urlsafe(TOKEN_BYTES))
        server = Server(None, admin.host, port, Explorer(path, configuration), Access(admin))
    except BadSetting as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from None
    host = f"[{admin.host}]" if ":" in admin.host else admin.host
    url = f"http://{host}:{server.port}/"
    opened = f"{url}?{urlencode({'token': admin.token})}" if admin.token else url
    click.echo(f"{path} is at {opened if corrects else url} (Ctrl-C stops)")
    if opens:
        webbrowser.open(opened)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()
    finally:
        server.close()
