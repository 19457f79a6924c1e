"""A traces.db as an object: its sessions, one by one or those that fit."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from callerid import files
from callerid.archive import calls as archive_calls
from callerid.archive import sessions as archive
from callerid.archive.calls import CallFacts
from callerid.archive.sessions import Cost, Filter, NotFound, SessionFacts, moment
from callerid.door.message import Message
from callerid.door.session import Content, Session, Usage
from callerid.traces.database import open_database


class Traces:
    """The sessions in a traces.db; a context manager, or `close` it. For one thread.

    Without a path it is the one that the proxy writes by default. Raises FileNotFoundError, and
    BadDatabase where the file is none.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else files.traces()
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: there is no such file; record some calls first")
        self._database = open_database(self.path)
        self._reader = archive_calls.reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.conn.close()

    def session(self, wanted: str) -> Session:
        """One session, by its id or the beginning of it; raises NotFound."""
        id = archive.session_id(self._database, wanted)
        return self._session(next(archive.sessions(self._database, Filter(session=id))))

    def sessions(
        self,
        *,
        agent: str = "",
        client: str = "",
        model: str = "",
        root: str = "",
        status: str = "",
        since: float | str | None = None,
        usd: float | None = None,
        limit: int = -1,
    ) -> list[Session]:
        """The sessions that fit, the one heard of last first; what is not said is all.

        `agent`, `client` and `model` are parts of names; `status` is ok, failed or in_flight;
        `since` is a time in seconds since the epoch, or as people write it ("2h", "2026-11-21");
        `usd` is the least that it cost. Raises BadTime.
        """
        when = moment(since, time.time()) if isinstance(since, str) else since
        which = Filter(agent, client, model, root, "", when, status, usd)
        return [self._session(found) for found in archive.sessions(self._database, which, limit)]

    def _session(self, facts: SessionFacts) -> Session:
        metadata: dict[str, object] = {
            "name": facts.name or None,
            "title": facts.title,
            "agent": facts.agent,
            "client": facts.client,
            "root": facts.root_session_id,
            "relation": facts.relation or None,
            "because": facts.because,
            "confidence": facts.confidence,
            "first_seen": facts.first_seen,
            "last_seen": facts.last_seen,
        }
        return Session.recorded(facts.id, facts.parent_session_id, metadata, self)

    def content(self, session_id: str, call_id: str = "") -> Content:
        """What was said in a session up to a call with its reply; raises NotFound.

        Where no call is named it is the newest of its main calls that was answered.
        """
        facts = archive_calls.newest(self._database, session_id, call_id)
        if facts is None:
            raise NotFound(f"session {session_id!r} has no call {call_id!r}".replace(" ''", ""))
        said, last = archive_calls.history(self._database, facts, self._reader)
        system, rest = archive_calls.parted(said, last)
        return Content(
            system,
            tuple(Message.recorded(message, facts.dialect) for message in rest),
            facts.model,
            facts.provider_name or "",
        )

    def calls(self, session_id: str) -> list[CallFacts]:
        """The calls of a session, the oldest first."""
        return list(archive_calls.calls(self._database, Filter(session=session_id)))

    def children(self, session_id: str) -> list[Session]:
        """The sessions that came from one, the oldest first."""
        query = "select id from sessions where parent_session_id = ? order by first_seen, id"
        found = self._database.execute(query, [session_id]).fetchall()
        return [self.session(id) for (id,) in found]

    def sums(self, session_id: str) -> tuple[Usage, Cost]:
        """What the calls of a session come to."""
        facts = next(archive.sessions(self._database, Filter(session=session_id)))
        tokens = (facts.input_tokens, facts.output_tokens, facts.cache_read_input_tokens)
        return Usage(*tokens), facts.cost
