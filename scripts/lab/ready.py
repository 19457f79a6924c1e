"""Loaded after the script under test: says that the proxy runs, and on which addresses."""

import json

from mitmproxy import ctx


def running() -> None:
    addresses = ctx.master.addons.get("proxyserver").listen_addrs()
    print("lab: the proxy listens on", json.dumps(addresses), flush=True)
