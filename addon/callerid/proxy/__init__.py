"""The edge: what stands between mitmproxy and the rest."""
