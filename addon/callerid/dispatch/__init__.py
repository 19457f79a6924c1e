"""Where a call goes, and whether it may go at all: placement of sessions, and budgets."""
