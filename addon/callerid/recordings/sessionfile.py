"""Reads agents' own session files: the calls in them, or why there are none.

Claude Code (2.1.329, observed) writes into `~/.claude/projects/*/SESSION.jsonl`, besides the
conversation, how each request was made: `api-request-shape` (system prompt and tools),
`api-request` (settings, and the messages as a beginning of an earlier request and a tail), and
`api-request-blob` (messages that are not in the conversation). Messages are named by the SHA-256 of
their JSON with sorted keys, so that what is put together here is what was sent, or is left out.
Where it was sent the file does not say; it is taken to be Anthropic. Earlier versions keep no
requests, and Codex's rollouts (0.169.0, observed) hold what was said but no calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from callerid.wire import wirejson

URL = "https://api.anthropic.com/v1/messages"
_HEADER_OF = {
    "sessionId": "x-claude-code-session-id",
    "agentId": "x-claude-code-agent-id",
}
_REQUEST = ("api-request", "api-request-shape", "api-request-blob")
_NO_CALLS = (
    "{whose} session file: it holds {said} messages but no calls ({missing}), and none are made "
    "up; run the agent through the proxy to record them"
)


class Told(NamedTuple):
    """A call as a session file tells it; times in seconds since the epoch."""

    id: str
    t: float
    t_response: float
    headers: tuple[tuple[str, str], ...]
    body: bytes
    reply: bytes | None
    response_id: str


Entry = dict[str, Any]


def is_session(entry: object) -> bool:
    """Whether a line of JSON is one of an agent's session file."""
    kind = wirejson.at(entry, "type")
    is_rollout = kind == "session_meta" and isinstance(wirejson.at(entry, "payload"), dict)
    has_id = isinstance(wirejson.at(entry, "sessionId"), str)
    return is_rollout or (isinstance(kind, str) and has_id and wirejson.at(entry, "t") is None)


def calls(entries: Iterable[object]) -> Iterator[Told | str]:
    """The calls that the lines of a session file tell of, or in words why there is none."""
    lines = [entry for entry in entries if isinstance(entry, dict)]
    if any(line.get("type") == "session_meta" for line in lines):
        items = [line for line in lines if line.get("type") == "response_item"]
        yield _NO_CALLS.format(
            whose="a Codex",
            said=len(items),
            missing="not which of them a request was made of, nor with what settings",
        )
    elif not any(line.get("type") in _REQUEST for line in lines):
        said = [line for line in lines if line.get("type") in ("user", "assistant")]
        yield _NO_CALLS.format(
            whose="a Claude Code", said=len(said), missing="no system prompt, no tools, no settings"
        )
    else:
        yield from _File(lines).calls()


class _File:
    def __init__(self, lines: list[Entry]) -> None:
        self._requests = [line for line in lines if line.get("type") == "api-request"]
        self._shapes = {
            wirejson.string(line.get("shapeHash")): wirejson.mapping(line.get("shape"))
            for line in lines
            if line.get("type") == "api-request-shape"
        }
        self._answers: dict[str, list[Entry]] = {}
        for line in lines:
            if line.get("type") == "assistant" and (of := wirejson.string(line.get("requestRef"))):
                self._answers.setdefault(of, []).append(line)
        self._messages = dict(_named(_candidates(lines)))
        self._histories: dict[str, list[str]] = {}

    def calls(self) -> Iterator[Told | str]:
        """The calls in their order; words for one that cannot be put together."""
        for request in self._requests:
            try:
                yield msgspec.convert(self._call(request), Told)
            except (
                LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError,
                msgspec.ValidationError,
            ) as error:  # fmt: skip
                yield f"request {request.get('id')}: not all that it was made of is here: {error}"

    def _call(self, request: Entry) -> Told:
        base = self._histories[request["base"]] if request.get("base") else []
        names = [*base[: request["keep"]], *request["tail"]]
        self._histories[request["id"]] = names
        body: Entry = {
            **{name: value for name, value in request["params"].items() if name != "betas"},
            "messages": [self._messages[name] for name in names],
            **self._shapes[request["shapeHash"]],
        }
        began = _seconds(request["timestamp"])
        answers = self._answers.get(request["id"], [])
        headers = [(name, request[key]) for key, name in _HEADER_OF.items() if request.get(key)]
        headers.append(("user-agent", f"claude-cli/{request.get('version', '')}"))
        if betas := request["params"].get("betas"):
            headers.append(("anthropic-beta", ",".join(betas)))
        return Told(
            id=request["id"],
            t=began,
            t_response=max([began, *(_seconds(line["timestamp"]) for line in answers)]),
            headers=tuple(headers),
            body=wirejson.encode(_marked(body, request.get("cacheControl") or [])),
            reply=_reply(answers),
            response_id=answers[-1]["message"]["id"] if answers else "",
        )


def _candidates(lines: list[Entry]) -> Iterator[Entry]:
    """Messages that a request may have held: noted ones, and those of the conversation."""
    replies: dict[str, list[object]] = {}
    run: list[object] = []
    for line in lines:
        message = line.get("message")
        if line.get("type") == "api-request-blob" and isinstance(message, dict):
            yield message
        if not isinstance(message, dict) or line.get("type") not in ("user", "assistant"):
            continue
        content = message.get("content")
        is_text = isinstance(content, str)
        blocks = [{"type": "text", "text": content}] if is_text else wirejson.sequence(content)
        if line["type"] == "assistant":
            run = []
            replies.setdefault(wirejson.string(message.get("id")), []).extend(blocks)
            continue
        run = [*run, *blocks]  # answers of tools that ran side by side are lines of their own
        yield {"role": "user", "content": content}
        yield {"role": "user", "content": blocks}
        yield {"role": "user", "content": run}
    for blocks in replies.values():
        yield {"role": "assistant", "content": blocks}


def _named(messages: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    for message in messages:
        with suppress(wirejson.NotJSON):  # nested too deeply to be written: nobody sent it
            yield sha256(wirejson.encode_sorted(message)).hexdigest(), message


def _marked(body: Entry, marks: list[Entry]) -> Entry:
    """A body with its cache markers, which are noted apart."""
    if not marks:
        return body
    marked = deepcopy(body)
    for mark in marks:
        place: Any = marked
        for step in mark["path"]:
            place = place[step]
        place["cache_control"] = mark["value"]
    return marked


def _reply(answers: list[Entry]) -> bytes | None:
    """The reply, of which each block is a line; the last says how it ended."""
    if not answers:
        return None
    content = [block for line in answers for block in line["message"]["content"]]
    return wirejson.encode({**answers[-1]["message"], "content": content})


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
