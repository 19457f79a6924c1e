"""Which of this machine's ports proxy clients must not reach through the proxy.

The proxy's own ports and mitmweb's would hand every flow, keys included, to any client that asks
for them through the proxy (CVE-2025-23217 in mitmproxy 11). Names can be made to resolve to
loopback, so the port alone decides; only an address that is plainly another machine's passes.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address


def is_refused(host: str, port: int, refused: Collection[int]) -> bool:
    """Whether a connection to a host and port may lead back to a refused port of this machine."""
    return port in refused and not _is_elsewhere(host)


def _is_elsewhere(host: str) -> bool:
    """Whether a host is an address in its plain form, and not one of loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return False  # a name, or a spelling like 127.1 that only the resolver understands
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not (mapped.is_loopback or mapped.is_unspecified or mapped.is_link_local)
