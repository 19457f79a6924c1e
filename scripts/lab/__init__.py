"""A laboratory on loopback: a fake LLM provider, and a real mitmdump to put before it."""

from lab.exchange import Answer, Asked, ToolCall, Usage
from lab.provider import FakeProvider, echo
from lab.proxy import Proxy
from lab.wires import newest_text, tool_results

__all__ = [
    "Answer",
    "Asked",
    "FakeProvider",
    "Proxy",
    "ToolCall",
    "Usage",
    "echo",
    "newest_text",
    "tool_results",
]
