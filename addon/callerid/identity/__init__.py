"""Whose call it is: the ladder, and what is remembered for it."""
