"""One round: a real mitmdump with the addon before a consumer, talks through it, both logs read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callerid.traces.database import Recorded, all_calls, open_database
from lab import Proxy
from lab.consumers.consumer import Consumer, Logged, Round
from lab.consumers.server import wait_for_log
from lab.consumers.talks import NAME, Line, line

ADDON = Path(__file__).parents[3] / "addon" / "main.py"

ReadLog = Callable[[], dict[str, Logged]]


class Stage:
    """A consumer that runs at a port of loopback; `key` is what it takes, `read_log` its log."""

    def __init__(
        self,
        consumer: Consumer,
        port: int,
        key: str,
        read_log: ReadLog,
        folder: Path,
        *,
        has_tools: bool = False,
    ) -> None:
        self._consumer, self._port, self._key = consumer, port, key
        self._read_log, self._folder, self._has_tools = read_log, folder, has_tools
        self.rounds: list[Round] = []

    @contextmanager
    def round(
        self,
        told_by: str,
        *,
        profile: str = "",
        marks: bool = False,
        logs: frozenset[str] = frozenset(),
        settings: Mapping[str, Any] | None = None,
    ) -> Iterator[Line]:
        """A line to the consumer; when it is left, the round is in `rounds`.

        Without a `profile` the upstream gets what the shipped settings give it. `logs` are the
        aspects to look at, where they are not all that the consumer logs. `settings` are more of
        callerid's.
        """
        folder = self._folder / f"round-{len(self.rounds) + 1}"
        folder.mkdir()
        chosen = {**self._settings(profile, marks=marks), **(settings or {})}
        (folder / "callerid.yaml").write_text(json.dumps(chosen))
        options = {
            "callerid_config": str(folder / "callerid.yaml"),
            "callerid_db": str(folder / "traces.db"),
        }
        mode = f"reverse:http://127.0.0.1:{self._port}"
        with (
            Proxy(ADDON, mode=mode, options=options) as proxy,
            line(folder.name, proxy.url, self._key, has_tools=self._has_tools) as talking,
        ):
            yield talking
            proxy.stop()
            (folder / "proxy.log").write_text(proxy.log)
        names = {turn.name for turn in talking.turns}
        told = {one.name for one in talking.turns if not one.is_refused and not one.is_untold}
        wait_for_log(lambda: told <= self._read_log().keys())
        logged = {name: one for name, one in self._read_log().items() if name in names}
        recorded = _record(folder / "traces.db")
        self.rounds.append(
            Round(
                self._consumer, told_by, logs or self._consumer.logs, talking.turns, recorded,
                logged, marks,
            )
        )  # fmt: skip

    def _settings(self, profile: str, *, marks: bool) -> Mapping[str, Any]:
        row = {"hosts": ["127.0.0.1"], "ports": [self._port], "profile": profile}
        stamp = {"final": marks, "upstreams": [row] if profile else []}
        return {"stamp": stamp, "admin": {"enabled": False}}


def _record(traces: Path) -> dict[str, Recorded]:
    """The calls in a traces.db, by their names."""
    database = open_database(traces)
    recorded = {one.request.header(NAME): one for one in all_calls(database)}
    database.conn.close()
    return recorded


def whole_lines(file: Path) -> list[str]:
    """The lines of a file that is being written: what comes after the last line end is not yet."""
    return file.read_text().split("\n")[:-1] if file.exists() else []
