"""Calls that were recorded, by us or by others, to be identified again."""
