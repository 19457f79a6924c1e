"""The addon beside mitmproxy's view of flows, as in mitmweb and the console; no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.addons import view as views
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons, tflow

from callerid.proxy.addon import CallerId

ASK = {"role": "user", "content": "May we sail today?"}


@contextmanager
def mitmweb(folder: Path, settings: str = "") -> Iterator[tuple[CallerId, views.View]]:
    """The addon beside mitmproxy's view, without the network."""
    config = folder / "settings.yaml"
    config.write_text("admin: {enabled: false}\n" + settings)
    addon, view = CallerId(), views.View()
    with taddons.context(view, addon, Proxyserver()) as context:
        context.configure(addon, callerid_db=str(folder / "traces.db"), callerid_config=str(config))
        try:
            yield addon, view
        finally:
            addon.done()
            context.master._legacy_log_events.uninstall()
            if not context.master.event_loop.is_running():
                context.master.event_loop.close()


def call(
    addon: CallerId, view: views.View, body: dict[str, Any], reply: Any, status: int = 200
) -> http.HTTPFlow:
    """A call with its reply, through all hooks."""
    request = http.Request.make(
        "POST", "https://api.anthropic.com/v1/messages", json.dumps(body),
        {"content-type": "application/json", "user-agent": "sailor/1"},
    )  # fmt: skip
    flow = tflow.tflow(req=request)
    flow.live = True
    view.add([flow])
    addon.requestheaders(flow)
    addon.request(flow)
    content = json.dumps(reply).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content))}
    flow.response = http.Response.make(status, content, headers)
    addon.responseheaders(flow)
    addon.response(flow)
    return flow


def master(*messages: Any) -> dict[str, Any]:
    system = "You are a harbour master."
    return {"model": "claude-sonnet-4-6", "system": system, "messages": list(messages)}
