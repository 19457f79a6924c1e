"""What can go wrong when an agent is asked; the history is then as it was before."""

from __future__ import annotations


class AgentError(RuntimeError):
    """A provider that cannot be reached or has refused, or a model that cannot be understood.

    `status` is the one of HTTP, where the provider gave one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
