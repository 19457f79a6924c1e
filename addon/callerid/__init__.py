"""Caller ID for LLM traffic: which agent, which session, whose child, and how do we know."""

__version__ = "0.1.0"
