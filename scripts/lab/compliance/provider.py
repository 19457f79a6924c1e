"""The lab's fake provider with what real agents need besides."""

from __future__ import annotations

from lab import FakeProvider
from lab.app import Application, Message, Receive, Send, at_once
from lab.compliance.model import Model

_UPGRADE_REQUIRED = 426  # on which Codex goes on over HTTP at once; on any other it tries again


class Provider(FakeProvider):
    """Answers as the model says; without `opens_sockets` it refuses WebSockets once for all."""

    def __init__(self, model: Model, *, opens_sockets: bool) -> None:
        super().__init__(model, opens_sockets=opens_sockets)
        if not opens_sockets:
            self._app = _WithoutSockets(model, self.asked, at_once, "", False)


class _WithoutSockets(Application):
    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await Application.__call__(self, scope, receive, send)
            return
        status = {"status": _UPGRADE_REQUIRED, "headers": []}
        await send({"type": "websocket.http.response.start", **status})
        await send({"type": "websocket.http.response.body", "body": b""})
