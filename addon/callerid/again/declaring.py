"""How our own calls say which session they are of, so that a proxy records exactly that.

The headers are those of the first row of config/clients.yaml.
"""

from __future__ import annotations

import re
import secrets
import time

from callerid.turn import Relation

MOST = 256  # characters of an id; a longer one counts as none
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_PARENTS = {Relation.FORK: "x-callerid-forked-session-id"}
_ANY_PARENT = "x-callerid-parent-session-id"


def headers(
    session_id: str, parent: str = "", relation: str = "", fork_point: str = "", root: str = ""
) -> dict[str, str]:
    """The headers of a call of a session; a fork says what it was forked from, and where.

    `root` is the session at the top, which a proxy may have forgotten.
    """
    said = {"x-callerid-session-id": session_id}
    if parent:
        how = Relation(relation) if relation in set(Relation) else Relation.SUBAGENT
        said[_PARENTS.get(how, _ANY_PARENT)] = parent
        if how is Relation.FORK and fork_point:
            said["x-callerid-fork-point"] = fork_point
    if root and root != session_id:
        said["x-callerid-root-session-id"] = root
    return said


def checked(session_id: str) -> str:
    """An id that a header can carry; raises ValueError."""
    if len(session_id) > MOST or not _PLAIN.fullmatch(session_id):
        raise ValueError(
            f"expected a session id of 1 to {MOST} plain characters (ASCII), got {session_id!r}"
        )
    return session_id


def new_session_id() -> str:
    """An id that nobody else has; it begins with the time, as those do that the proxy makes."""
    return f"sess_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
