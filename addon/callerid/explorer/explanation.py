"""The whole ladder of one call: what each rung looked at, as `callerid explain` tells it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlite_utils import Database

from callerid.archive import calls as archive
from callerid.archive.sessions import NotFound, call_id
from callerid.recordings.explaining import explained, up_to
from callerid.settings.load import Configuration

MOST_BYTES = 2 << 30  # of requests, which are all read again: 100 to 180 MB a second


def explain_page(
    database: Database, args: Mapping[str, str], configuration: Configuration
) -> dict[str, object]:
    """The values of the page; raises NotFound and NotJSON.

    All calls that came before are identified again. Where those are too many it has no ladder, and
    the page names the command.
    """
    facts = archive.call(database, call_id(database, args.get("id", "")))
    if facts is None or facts.session_id is None:
        raise NotFound(f"there is no call {args.get('id', '')!r} of a session")
    query = "select coalesce(sum(request_bytes), 0) from calls where started_at <= ?"
    (size,) = database.execute(query, [facts.started_at]).fetchone()
    is_short = size <= MOST_BYTES
    found = explained(up_to(database, facts), facts.id, configuration) if is_short else None
    return {"call": facts, "ladder": found.ladder if found else None, "is_short": is_short}
