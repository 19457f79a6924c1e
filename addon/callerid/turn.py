"""The nouns: what an agent asked, what came back, and whose it was."""

from __future__ import annotations

from enum import Enum, StrEnum
from functools import cached_property

import msgspec

HeaderList = tuple[tuple[str, str], ...]


class Dialect(StrEnum):
    """A wire format."""

    ANTHROPIC = "anthropic"
    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    GEMINI = "gemini"
    BEDROCK_CONVERSE = "bedrock_converse"
    COHERE = "cohere"
    COHERE_V1 = "cohere_v1"
    OLLAMA = "ollama"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


class Role(StrEnum):
    """Who a message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Kind(StrEnum):
    """What a call is for; only `main` advances a session."""

    MAIN = "main"
    TITLE = "title"
    COMPACTION = "compaction"
    COUNT_TOKENS = "count_tokens"
    PREWARM = "prewarm"
    ROUTER = "router"
    AUXILIARY = "auxiliary"
    EMBEDDING = "embedding"


class Relation(StrEnum):
    """How a session came from its parent."""

    SUBAGENT = "subagent"
    FORK = "fork"
    RESET = "reset"


class Because(StrEnum):
    """The rung of the ladder that decided, strongest first; a correction is a person's."""

    CORRECTION = "correction"
    HEADER = "header"
    BODY = "body"
    RESPONSE_ID = "response_id"
    HISTORY = "history"
    RETRY = "retry"
    COMPACTION = "compaction"
    LIKENESS = "likeness"
    NEW = "new"


class Text(msgspec.Struct, frozen=True, gc=False):
    """Words, as sent."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A request of the model to run a tool; `arguments` is JSON or, where it was none, text."""

    id: str
    name: str
    arguments: object


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """What a tool answered, as text."""

    call_id: str
    text: str


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """Something said that is not text (an image, a file, an encrypted summary)."""

    type: str
    content: bytes


class Reference(msgspec.Struct, frozen=True, gc=False):
    """Something that the server keeps, named instead of said again, by the provider's id."""

    id: str


Part = Text | ToolCall | ToolResult | Opaque | Reference


class Unit(msgspec.Struct, frozen=True, gc=False):
    """One thing that was said, without how it was sent: the atom of history.

    `digest` is 16 bytes; `weight` is how many letters were said (few prove little).
    `letters` are the words of a model without spaces: the next message may go on with them.
    """

    role: Role
    digest: bytes
    weight: int
    is_tool_result: bool = False
    letters: str = ""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a history: who, what (thinking left out), and its bytes on the wire.

    `raw` is the message's own JSON, exactly as it came. `is_spoken` says that a person or the model
    has words in it.
    """

    role: Role
    parts: tuple[Part, ...]
    raw: bytes
    units: tuple[Unit, ...] = ()
    is_spoken: bool = False

    @property
    def text(self) -> str:
        """The words of the message; a model's parts go on in the middle of a sentence."""
        between = "" if self.role is Role.ASSISTANT else "\n"
        return between.join(part.text for part in self.parts if isinstance(part, Text))


class Client(msgspec.Struct, frozen=True, gc=False):
    """The program and connection a call came from; never its credential.

    `scope` is a keyed digest of the credential ("" when none was sent): calls of different scopes
    are different customers. `connection` names one open connection.
    """

    scope: str = ""
    connection: str = ""
    address: str = ""
    user_agent: str = ""


class Request(msgspec.Struct, frozen=True, dict=True):
    """An HTTP request, as it came: decoded body, headers in order.

    `authority` is the host that the client names in it; where a proxy is transparent, `host` is
    only an address.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    headers: HeaderList
    body: bytes
    client: Client
    authority: str = ""

    def header(self, name: str) -> str:
        """The first value of a header, trimmed; "" when it is missing."""
        return self.by_name.get(name, "").strip()

    @cached_property
    def by_name(self) -> dict[str, str]:
        """The first value of each header, by its name in lower case."""
        return {name.lower(): value for name, value in reversed(self.headers)}


class Stood(bytes, Enum):
    """What stood in a member of a body, where it is kept elsewhere; none of these is JSON."""

    SYSTEM = b"<system>"
    TOOLS = b"<tools>"
    MESSAGES = b"<messages>"


Members = tuple[tuple[str, bytes], ...]


class Call(msgspec.Struct, frozen=True, gc=False):
    """One LLM API request, as parsed.

    `system` is the system prompt's text, `tools` the names in the order sent. `members` are the
    top-level members of the body (name, JSON), with a Stood for system, tools and messages, so
    that the body can be put together again.
    """

    dialect: Dialect
    model: str
    streams: bool
    system: str
    tools: tuple[str, ...]
    messages: tuple[Message, ...]
    kind: Kind = Kind.MAIN
    previous_response_id: str = ""
    members: Members = ()
    system_raw: bytes = b""
    tools_raw: bytes = b""

    def member(self, name: str) -> bytes:
        """The JSON of a top-level member of the body; b"" when it is missing."""
        return next((raw for key, raw in self.members if key == name), b"")


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens as the provider counted them; None is unknown, never 0. `raw` is its own JSON.

    Some count the cache beside `input_tokens`, and reasoning beside `output_tokens`: apart.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_1h_input_tokens: int | None = None  # of those written, the ones for an hour
    cache_is_apart: bool = False
    reasoning_is_apart: bool = False
    raw: bytes = b""

    @property
    def total_input_tokens(self) -> int | None:
        """All that went in, the cache included."""
        if self.input_tokens is None or not self.cache_is_apart:
            return self.input_tokens
        cached = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        return self.input_tokens + cached

    @property
    def total_output_tokens(self) -> int | None:
        """All that came out, reasoning included."""
        if self.output_tokens is None or not self.reasoning_is_apart:
            return self.output_tokens
        return self.output_tokens + (self.reasoning_tokens or 0)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What came back, as parsed.

    `complete` is False when the stream ended before the provider said it was done. `error` is the
    provider's word for what went wrong ("" when nothing did). `item_ids` are the ids by which what
    was said may be referred to, where the server keeps it. `others` are the other answers, where
    the call asked for several.
    """

    messages: tuple[Message, ...] = ()
    stop_reason: str = ""
    model: str = ""
    response_id: str = ""
    item_ids: tuple[str, ...] = ()
    others: tuple[Message, ...] = ()
    usage: Usage = Usage()
    error: str = ""
    error_message: str = ""
    complete: bool = True


class Timing(msgspec.Struct, frozen=True, gc=False):
    """Seconds since the epoch: request in, first and last byte of the reply out (None: never)."""

    started: float
    first_byte: float | None = None
    ended: float | None = None


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Whose call this is, and how we know.

    `confidence` is 0..1; `evidence` is one line a person can read. `path` is the sessions from the
    root down to this one, as far as they are remembered.
    """

    session_id: str
    agent_id: str
    root_session_id: str
    because: Because
    confidence: float
    evidence: str
    kind: Kind = Kind.MAIN
    agent_name: str = ""
    parent_session_id: str = ""
    relation: Relation | None = None
    client_name: str = ""
    is_final: bool = False
    path: tuple[str, ...] = ()
