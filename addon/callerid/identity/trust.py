"""Who may declare: the addresses from which a client's word about itself is taken."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

MOST_ADDRESSES = 4096  # remembered with what was found of them


class Trust:
    """The networks from which clients may say whose a call is; None is everywhere.

    An address that is none (of a call from elsewhere than a network) is in no network.
    """

    def __init__(self, networks: Iterable[str] | None = None) -> None:
        self._networks = None if networks is None else [ip_network(each) for each in networks]
        self.takes = lru_cache(MOST_ADDRESSES)(self._takes)

    def _takes(self, address: str) -> bool:
        """Whether what a client at an address declares is taken for true."""
        if self._networks is None:
            return True
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)


ANYBODY = Trust()
