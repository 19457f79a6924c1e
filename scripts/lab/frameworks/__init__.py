"""Real agent frameworks, which name no session: what callerid finds, held against the truth."""
