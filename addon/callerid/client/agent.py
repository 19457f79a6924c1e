"""An agent: a model at its provider, with tools; it holds sessions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import finalize

from callerid import files
from callerid.again.endpoints import CannotCall, endpoint
from callerid.client import library, loops
from callerid.client.errors import AgentError
from callerid.client.library import Asked, Line
from callerid.client.session import Session
from callerid.door.message import Message
from callerid.door.session import Session as Kept
from callerid.settings.checked import read
from callerid.settings.tables import ProviderTable


class Agent:
    """Asks a model of a provider, and runs the tools that it wants.

    `provider` is a name of config/providers.yaml (openai, anthropic, gemini, groq ...), or anything
    with a `base_url` that speaks as OpenAI's chat does. The key is `api_key`, or the one that the
    environment has for the provider. Calls go through `proxy`, or by HTTPS_PROXY; `authority` is
    the file of the proxy's certificate (default: mitmproxy's, where it is). `settings` are
    pydantic-ai's, as temperature, for all calls. An agent may be used by any thread and any loop.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        tools: Sequence[Callable[..., Any]] = (),
        *,
        system: str = "",
        base_url: str = "",
        api_key: str = "",
        proxy: str = "",
        authority: str | Path | None = None,
        **settings: Any,
    ) -> None:
        library.settings(settings, {})
        self.provider = provider
        self.model = model
        self.tools = tuple(tools)
        self.system = system
        self.settings = settings
        self._base_url = base_url
        self._api_key = api_key
        self._line = Line(proxy, Path(authority) if authority else files.authority())
        self._kept: Asked | None = None

    def __repr__(self) -> str:
        return f"<Agent {self.provider} {self.model}>"

    def session(
        self, session_id: str = "", *, system: str = "", messages: Iterable[Message] = ()
    ) -> Session:
        """A new conversation; its id is `session_id`, or one that nobody else has.

        Raises ValueError for an id that cannot be told to a proxy.
        """
        kept = Kept(session_id, system=system or self.system, messages=messages)
        return Session(self, kept)

    def resume(self, recorded: Kept) -> Session:
        """A session on record, to go on with: `agent.resume(Traces().session(ID))`.

        It keeps its id, what was said and its system prompt, whatever provider it was held with.
        Raises TypeError for anything else, as an id.
        """
        if not isinstance(recorded, Kept):
            raise TypeError(
                "expected a session on record, as Traces().session(ID) gives it, got "
                f"{recorded!r:.80}"
            )
        return Session(self, recorded)

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Asked]:
        """What asks its model; raises AgentError where the provider is not known or has no key.

        In the loop of those who do not wait it is kept with its connections; in a loop of the
        program's own it ends with the turn, as that loop may end any time.
        """
        if not loops.is_ours():
            made = self._made()
            try:
                yield made
            finally:
                await made.connections.aclose()
            return
        if self._kept is None:
            self._kept = self._made()
            finalize(self, loops.end, self._kept.connections.aclose)
        yield self._kept

    def _made(self) -> Asked:
        try:
            found = endpoint(
                _providers(), self.provider, os.environ, base_url=self._base_url, key=self._api_key
            )
        except CannotCall as error:
            raise AgentError(str(error)) from None
        return library.asked(found, self.model, self._line)


@cache
def _providers() -> ProviderTable:
    return read(files.CONFIG / "providers.yaml", ProviderTable)
