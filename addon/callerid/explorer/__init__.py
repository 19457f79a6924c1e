"""Pages to look at what is on record, in a browser: runs, sessions, calls."""
