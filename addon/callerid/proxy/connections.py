"""Connections, before there is a call: the way to our own ports is shut, and distrust is said."""

from __future__ import annotations

from mitmproxy import ctx
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from callerid.guard import Guard
from callerid.proxy import flows, ports


class Connections:
    """Looks at connections as they are made."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._refused_ports: frozenset[int] = frozenset()

    def close_ports(self, *more: int) -> None:
        """Let nobody through to the proxy's own ports, mitmweb's, and some more."""
        server = ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
        own = {address[1] for address in server.listen_addrs()} if server else set()
        if "web_port" in ctx.options:
            own.add(ctx.options.web_port)
        self._refused_ports = frozenset(own | set(more))

    def refuse(self, data: ServerConnectionHookData) -> None:
        """Refuse the way back to our own ports."""
        host, port = data.server.address[:2] if data.server.address else ("", 0)
        is_operators = flows.is_reverse(data.client)
        if ports.is_refused(host, port, self._refused_ports) and not is_operators:
            data.server.error = (
                f"callerid: port {port} is the proxy's own and cannot be reached through it; "
                "if another machine is meant, name it by its address"
            )

    def is_distrusted(self, data: TlsData) -> None:
        """Say why nothing is seen of a client: it does not trust the certificate."""
        host = data.context.client.sni or "a host"
        self._guard.note(
            "untrusted",
            f"a client does not trust the proxy's certificate (calling {host}): "
            "`callerid doctor` says which variable it heeds",
        )
