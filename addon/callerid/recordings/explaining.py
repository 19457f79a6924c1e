"""Why a call on record was put where it was: identified again, after all that came before it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlite_utils import Database

from callerid.archive.calls import CallFacts
from callerid.identity.explain import Rung
from callerid.recordings.recorded import RecordedCall
from callerid.recordings.reidentify import Identified, in_order
from callerid.settings.load import Configuration
from callerid.traces.database import all_calls

# A session that the climb has found anew, before it bears the name that it has on record.
_MADE = re.compile(r"sess_[0-9a-f]{24}\b")


class Explained(NamedTuple):
    """A call that was identified again; its rungs name sessions as they are on record."""

    identified: Identified
    ladder: list[Rung]


def explained(
    calls: Iterable[RecordedCall], call_id: str, configuration: Configuration
) -> Explained | None:
    """The ladder of one of some calls, the oldest of which comes first; None where it is none."""
    shared: Counter[tuple[str, str]] = Counter()
    for each in in_order(calls, configuration, lambda call: call.id == call_id):
        if each.identity and each.call.record:
            shared[each.identity.session_id, each.call.record.identity.session_id] += 1
        if each.call.id == call_id:
            names: dict[str, str] = {}
            for (again, recorded), _ in shared.most_common():
                names.setdefault(again, recorded)
            return Explained(each, [_named(rung, names) for rung in each.ladder])
    return None


def up_to(database: Database, facts: CallFacts) -> Iterator[RecordedCall]:
    """The calls on record up to one, the oldest first; raises NotJSON."""
    for record in all_calls(database, None, facts.started_at):
        yield RecordedCall.of(record)


def _named(rung: Rung, names: dict[str, str]) -> Rung:
    def on_record(text: str) -> str:
        return _MADE.sub(lambda id: names.get(id[0], id[0]), text)

    return rung._replace(looked_at=on_record(rung.looked_at), found=on_record(rung.found))
