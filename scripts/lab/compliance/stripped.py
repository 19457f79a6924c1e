"""Calls with every id taken out, so that only what was said can tell whose they are."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from callerid.recordings.recorded import RecordedCall, encoded
from callerid.traces.database import Recorded

# Written down here on purpose, and not read from config/clients.yaml: that table is what is tested.
ID_HEADER = re.compile(
    r"session|thread|conversation|claude-code|codex|affinity|^x-cc-|client-request-id|trace|baggage"
    r"|openai-subagent|1p-request|opencode|prompt-id|agent-id|request-class",
    re.IGNORECASE,
)
ID_MEMBERS = frozenset(
    ("metadata", "client_metadata", "prompt_cache_key", "user_prompt_id", "session_id",
     "diagnostics", "conversation", "user", "safety_identifier")
)  # fmt: skip
# Not taken out: previous_response_id, without which a delta in a WebSocket has no history at all,
# and user-agent, which names the program.
_BILLING = "x-anthropic-billing-header"


def without_ids(record: Recorded) -> RecordedCall:
    """The call without its id headers and members."""
    call = RecordedCall.of(record)
    request = msgspec.structs.replace(
        call.request,
        headers=tuple(pair for pair in call.request.headers if not ID_HEADER.search(pair[0])),
        body=encoded(body_without_ids(json.loads(call.request.body))),
    )
    return msgspec.structs.replace(call, request=request)


def body_without_ids(body: Any) -> Any:
    """A body without the members that name a session, an agent, or the call before."""
    left = {name: value for name, value in body.items() if name not in ID_MEMBERS}
    if isinstance(inside := left.get("request"), dict):  # Gemini Code Assist wraps its call
        left["request"] = body_without_ids(inside)
    if isinstance(system := left.get("system"), list):
        left["system"] = [block for block in system if _BILLING not in (block.get("text") or "")]
    return left
