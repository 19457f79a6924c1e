"""Real coding agents, held against callerid: a scripted model knows the truth of their calls."""
