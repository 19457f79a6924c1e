"""The content view "LLM turn": a request or reply as a transcript, in mitmproxy 11 and 12."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mitmproxy import contentviews, http
from mitmproxy.flow import Flow

from callerid.archive import plain
from callerid.archive.transcript import lines_of
from callerid.proxy import flows
from callerid.turn import Reply
from callerid.wire import canonical
from callerid.wire.messages import MessageReader
from callerid.wire.parse import ReplyReader, parse_call

NAME = "LLM turn"
PRIORITY = 5.0  # before JSON and the like, for calls only


def turn(flow: http.HTTPFlow, message: http.Message, data: bytes) -> str:
    """A request or reply of a flow as text; raises ValueError where it is none that can be read."""
    reader = MessageReader(canonical.injected_pattern([]))
    call = parse_call(flow.request.path, flow.request.content or b"", reader)
    if call is None:
        raise ValueError("expected an LLM call, got another request")
    head = "\n".join(_head(flow))
    if isinstance(message, http.Request):
        told = [f"model {call.model}", f"tools: {', '.join(call.tools)}" if call.tools else ""]
        if call.system:
            told += ["", "── system", call.system]
        body = plain.text(lines_of(call.messages))
        return _lined([head, *filter(None, told), "", body])
    said = flows.headers_of(message.headers)
    headers = tuple(pair for pair in said if pair[0].lower() != "content-encoding")
    replies = ReplyReader(call.dialect, headers, reader)
    replies.feed(data)
    status = message.status_code if isinstance(message, http.Response) else 200
    reply = replies.finish(status)
    return _lined([head, *_came_to(reply), "", plain.text(lines_of(reply.messages))])


def _lined(pieces: Iterable[str]) -> str:
    """One text; mitmweb shows no empty lines, and what is between paragraphs must be seen."""
    return "\n".join(line or " " for line in "\n".join(pieces).strip().split("\n"))


def _head(flow: http.HTTPFlow) -> Iterator[str]:
    said = flow.metadata
    if "callerid.session" in said:
        name = f"{said['callerid.name']} · " if said.get("callerid.name") else ""
        yield f"{said['callerid.agent']} · {name}{said['callerid.session']}"
        if said["callerid.parent"]:
            yield f"from {said['callerid.parent']}"
        yield f"because {said['callerid.because']}: {said['callerid.evidence']}"


def _came_to(reply: Reply) -> Iterator[str]:
    usage = reply.usage
    if usage.total_input_tokens is not None:
        words = f"{usage.total_input_tokens:,} → {usage.total_output_tokens or 0:,} tokens"
        read = usage.cache_read_input_tokens
        yield f"{words} ({read:,} from the cache)" if read else words
    if reply.stop_reason:
        yield f"stopped: {reply.stop_reason}"
    if reply.error:
        yield f"error: {reply.error} {reply.error_message}"
    if not reply.complete:
        yield "the reply ended before its provider said so"


def _priority(flow: Flow | None) -> float:
    is_call = isinstance(flow, http.HTTPFlow) and "callerid.call" in flow.metadata
    return PRIORITY if is_call else -1.0


if hasattr(contentviews, "Contentview"):  # mitmproxy 12

    class TurnView(contentviews.Contentview):
        """A call as a transcript."""

        @property
        def name(self) -> str:
            """As it is called in the list of views."""
            return NAME

        def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
            """The transcript; raises ValueError."""
            flow, message = metadata.flow, metadata.http_message
            if not isinstance(flow, http.HTTPFlow) or message is None:
                raise ValueError("expected an HTTP message")
            return turn(flow, message, data)

        def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
            """Above all others for calls, below all others for the rest."""
            return _priority(metadata.flow)

else:

    class TurnView(contentviews.View):  # type: ignore[no-redef,name-defined,misc]
        """A call as a transcript."""

        name = NAME

        def __call__(
            self, data: bytes, *, flow: Flow | None = None,
            http_message: http.Message | None = None, **more: object,
        ) -> tuple[str, Iterator[list[tuple[str, str]]]]:  # fmt: skip
            """The transcript, line by line; raises ValueError."""
            if not isinstance(flow, http.HTTPFlow) or http_message is None:
                raise ValueError("expected an HTTP message")
            lines = turn(flow, http_message, data).splitlines()
            return NAME, ([("text", line)] for line in lines)

        def render_priority(
            self, data: bytes, *, flow: Flow | None = None, **more: object
        ) -> float:
            """Above all others for calls, below all others for the rest."""
            return _priority(flow)


def add() -> object:
    """Offer the view; what `remove` takes."""
    view = TurnView()
    contentviews.add(view)
    return view


def remove(view: object) -> None:
    """Take the view back, where mitmproxy would not let it be offered again (11)."""
    take_back = getattr(contentviews, "remove", None)
    if view is not None and take_back is not None:
        take_back(view)
