"""The pages /metrics, /config and /health: what is asked in, status and text out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace
from prometheus_client.exposition import choose_encoder

from callerid import __version__
from callerid.numbers import Numbers
from callerid.operators.access import Access, Asked
from callerid.settings.values import Settings

PATHS = ("/metrics", "/config", "/health")
_JSON = "application/json"
_MASK = "***"
_PASSWORD = re.compile(r"://[^/]*@")  # in a URL, with its user


class Page(NamedTuple):
    """What is answered."""

    status: int
    content_type: str
    body: bytes


class Status(NamedTuple):
    """How it is right now: what the numbers do not count."""

    traces: str
    queued: int
    dropped: int
    uptime_seconds: float
    upstreams: Mapping[str, tuple[bool, int]]  # whether it is well, its live sessions


class Pages:
    """Answers for the pages; `access` says who may see them."""

    def __init__(
        self, settings: Settings, numbers: Numbers, lengths: Callable[[], tuple[int, int, int]],
        status: Callable[[], Status],
    ) -> None:  # fmt: skip
        self.access = Access(settings.admin)
        self._settings = settings
        self._numbers = numbers
        self._lengths = lengths  # sessions remembered, their messages, those of the longest
        self._status = status

    def answer(self, asked: Asked) -> Page:
        """The page that is asked for, or why there is none."""
        url = urlsplit(asked.path)
        query = parse_qs(url.query)
        if refusal := self.access.refusal(asked):
            return _page(403, {"error": refusal})
        if url.path == "/metrics":
            wanted = (query.get("format") or [""])[0]
            return self._metrics(asked.accept, is_text=wanted == "prometheus")
        if url.path == "/config":
            return _page(200, self._config())
        if url.path == "/health":
            return _page(200, self._health())
        return _page(404, {"error": f"there are {', '.join(PATHS)}; got {url.path}"})

    def _metrics(self, accept: str, *, is_text: bool) -> Page:
        if is_text or "openmetrics" in accept or "text/plain" in accept:
            encode, content_type = choose_encoder(accept)
            return Page(200, content_type, encode(self._numbers.registry))
        return _page(200, self._figures())

    def _figures(self) -> dict[str, object]:
        """The figures in the shape that Cylestio's gateway documents, and our own beside them."""
        numbers, status = self._numbers, self._status()
        calls = numbers.total("calls_total")
        sessions, messages, longest = self._lengths()
        return {
            "sessions": {
                "active_count": sessions,
                "total_created": int(numbers.total("sessions_created_total")),
                "cache_hit_rate": round(numbers.total("calls_matched_total") / calls, 3)
                if calls
                else 0.0,
                "fuzzy_matches": numbers.likened,
                "average_session_length": round(messages / sessions, 1) if sessions else 0.0,
                "longest_session": longest,
            },
            "performance": {
                "session_lookup_ms": round(numbers.mean_ms("stage_seconds", stage="identify"), 3),
                "hash_computation_ms": round(numbers.mean_ms("stage_seconds", stage="parse"), 3),
                "first_byte_added_ms": round(numbers.mean_ms("first_byte_added_seconds"), 3),
            },
            "calls": {
                "total": int(calls),
                "by_because": numbers.by("calls_total", "because"),
                "by_kind": numbers.by("calls_total", "kind"),
                "by_state": numbers.by("replies_total", "state"),
            },
            "tokens": numbers.by("tokens_total", "type"),
            "recording": {"queued": status.queued, "dropped": status.dropped},
            "upstreams": {
                url: {"well": is_well, "sessions": live}
                for url, (is_well, live) in status.upstreams.items()
            },
            "trouble": numbers.by("trouble_total", "kind"),
        }

    def _config(self) -> dict[str, object]:
        settings = self._settings
        if settings.admin.token:
            settings = replace(settings, admin=replace(settings.admin, token=_MASK))
        otlp = settings.export.otlp
        hidden = replace(otlp, headers=dict.fromkeys(otlp.headers, _MASK))
        settings = replace(settings, export=replace(settings.export, otlp=hidden))
        storage = _PASSWORD.sub(f"://{_MASK}@", settings.rate_limiting.storage)
        limits = replace(settings.rate_limiting, storage=storage)
        kept = settings.session.persistence
        kept = replace(kept, connection=_PASSWORD.sub(f"://{_MASK}@", kept.connection))
        settings = replace(settings, session=replace(settings.session, persistence=kept))
        said: dict[str, object] = msgspec.to_builtins(replace(settings, rate_limiting=limits))
        return said

    def _health(self) -> dict[str, object]:
        status = self._status()
        is_ill = status.dropped or any(not well for well, _ in status.upstreams.values())
        return {
            "status": "degraded" if is_ill else "ok",
            "callerid": __version__,
            "traces": status.traces,
            "uptime_seconds": round(status.uptime_seconds, 1),
            "recording": {"queued": status.queued, "dropped": status.dropped},
        }


def _page(status: int, value: object) -> Page:
    return Page(status, _JSON, json.dumps(value, indent=2).encode() + b"\n")
