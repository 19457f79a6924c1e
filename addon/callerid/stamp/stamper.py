"""Header edits, and members for the bodies that want them, by the profile of the upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from callerid.settings.tables import HeaderRule, Profile
from callerid.stamp import parts
from callerid.stamp.signatures import signed
from callerid.stamp.upstreams import Upstreams, fits_any
from callerid.turn import Identity, Request
from callerid.wire import wirejson

OURS = "x-callerid-*"  # the headers in which we, and our own clients, say whose a call is


class Edit(NamedTuple):
    """A header to set (with value None: to take away), or a member to add to a JSON body."""

    name: str
    value: str | None


class Stamper:
    """Decides what is written on requests; `sends_final` also tells upstreams of last calls.

    `takes` says of an address whether what a client there says of itself is passed on.
    """

    def __init__(
        self, upstreams: Upstreams, *, sets: bool, sends_final: bool = False,
        takes: Callable[[str], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        self._takes = takes
        self.upstreams = upstreams
        self._sets = sets
        self._sends_final = sends_final

    def strips(self, request: Request) -> list[Edit]:
        """The headers that must not reach the upstream; those under a signature stay."""
        profile = self.upstreams.of(request).profile
        is_believed = self._takes(request.client.address)
        if is_believed and not profile.strip:
            return []
        false = () if is_believed else (OURS, *(rule.header.lower() for rule in profile.set))
        named = [
            name
            for name, _ in request.headers
            if _is_stripped(name.lower(), profile) or fits_any(name.lower(), false)
        ]
        covered = signed(request).headers if named else ()
        return [Edit(name, None) for name in named if name.lower() not in covered]

    def sets(self, identity: Identity, request: Request, call_id: str) -> list[Edit]:
        """The headers that the upstream wants to see; what the client said itself is kept."""
        profile = self._profile(request)
        if profile is None:
            return []
        edits = (self._edit(rule, profile, identity, request, call_id) for rule in profile.set)
        return [edit for edit in edits if edit is not None]

    def _profile(self, request: Request) -> Profile | None:
        """What may be written on a request: nothing where it is signed, or its gate is shut."""
        profile = self.upstreams.of(request).profile
        if not self._sets or not (profile.set or profile.body):
            return None
        if profile.gate and not request.header(profile.gate.lower()):
            return None
        return None if signed(request).is_signed else profile

    def _edit(
        self, rule: HeaderRule, profile: Profile, identity: Identity, request: Request, call_id: str
    ) -> Edit | None:
        if rule.part == "final" and not self._sends_final:
            return None
        value = parts.part(rule.part, identity, call_id)
        if not value or len(value) > rule.most:
            return None
        name = rule.header.lower()
        is_gone = _is_stripped(name, profile) or not self._takes(request.client.address)
        there = "" if is_gone else request.header(name)
        if there and rule.part == "baggage":
            value = parts.joined_baggage(there, value)
        elif there and (not profile.override or fits_any(name, profile.keep)):
            return None
        return Edit(name, value) if value != there else None

    def members(self, identity: Identity, request: Request) -> list[Edit]:
        """The members that the upstream wants in a JSON body, where it has none of their names.

        Only in a body that is not packed. Raises NotJSON.
        """
        profile = self._profile(request)
        if profile is None or not profile.body or request.header("content-encoding"):
            return []
        present = wirejson.members(request.body)
        values = {rule: parts.part(rule.part, identity, "") for rule in profile.body}
        return [
            Edit(rule.member, value)
            for rule, value in values.items()
            if rule.member not in present and 0 < len(value) <= rule.most
        ]


def with_members(body: bytes, members: list[Edit]) -> bytes:
    """A JSON object with new members before its own, which stay as they are, byte for byte."""
    new = b",".join(
        wirejson.encode(name) + b":" + wirejson.encode(value) for name, value in members
    )
    head, brace, rest = body.partition(b"{")
    is_empty = rest.lstrip().startswith(b"}")
    return head + brace + new + (b"" if is_empty else b",") + rest


def _is_stripped(name: str, profile: Profile) -> bool:
    return fits_any(name, profile.strip) and not fits_any(name, profile.keep)


def returned(identity: Identity) -> list[Edit]:
    """The headers that tell the client how its call was identified."""
    edits = [
        Edit("x-callerid-session-id", identity.session_id),
        Edit("x-callerid-agent-id", identity.agent_id),
        Edit("x-callerid-parent-session-id", identity.parent_session_id),
        Edit("x-callerid-because", str(identity.because)),
    ]
    return [edit for edit in edits if edit.value]
