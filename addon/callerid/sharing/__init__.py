"""What several proxies know together: an engine keeps it, and each takes what it lacks."""
