"""Masks secrets in texts and JSON: what config/secrets.yaml calls one, or a user's own function."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable

from callerid import credentials
from callerid.credentials import MASK
from callerid.guard import Guard
from callerid.settings.tables import SecretRow
from callerid.traces.hook import Hook
from callerid.wire import wirejson

BLANK = wirejson.encode(MASK)  # what stands for JSON that cannot be looked through
# Words of formats ("role", "tool_use"): a user's function must not be able to break JSON's shape.
_WORD = re.compile(r"[A-Za-z_][\w.-]{0,60}")
_OF_FORMATS = ("role", "type")
_LEAST = 4  # characters: what is shorter is no secret
_SHORT = 200
_REMEMBERED = 4000
_LEAST_CARD = 10**12  # of numbers in JSON


class Redaction:
    """Texts and JSON without secrets; what cannot be looked through is masked whole, and counted.

    JSON is decoded, so that no escape hides a secret, and texts in it that are JSON themselves (as
    tool arguments are) are too. What holds nothing secret comes back as the same object.
    """

    def __init__(self, rows: Iterable[SecretRow], hook: Hook | None, guard: Guard) -> None:
        self._rows = [(row.holds or ("",), re.compile(row.pattern), row.luhn) for row in rows]
        self._hook = hook
        self._known: dict[str, str] = {}  # headers, and other texts that come with every call
        self._guard = guard

    def text(self, text: str) -> str:
        """A text without secrets."""
        shown = self._shown(text)
        return text if shown == text else shown

    def _shown(self, text: str) -> str:
        shown = self._matched(text) if len(text) > _SHORT else self._remembered(text)
        if self._hook is None or not text:
            return shown
        with self._guard("redact"):
            answer = self._hook(shown)
            if isinstance(answer, str):
                return answer
            raise TypeError(f"record.redact gave {type(answer).__name__}, not str")
        return MASK

    def _remembered(self, text: str) -> str:
        shown = self._known.get(text)
        if shown is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            shown = self._known[text] = self._matched(text)
        return shown

    def json(self, raw: bytes) -> bytes:
        """JSON without secrets."""
        with self._guard("redact"):
            try:
                value = wirejson.decode(raw)
                shown = self._value(value)
                return raw if shown is value else wirejson.encode(shown)
            except wirejson.NotJSON:
                self._guard.note("redacted_whole", "JSON that could not be read was masked whole")
                return BLANK
        return BLANK

    def _matched(self, text: str) -> str:
        if len(text) < _LEAST:
            return text
        shown, low = credentials.masked(text), text.lower()
        for holds, pattern, luhn in self._rows:
            for word in holds:
                if word in low:
                    shown = pattern.sub(_if_card if luhn else _mask, shown)
                    break
        return shown

    def value(self, value: object) -> object:
        """A value of JSON without secrets."""
        return self._value(value)

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            shown = [self._value(item) for item in value]
            return value if all(map(operator.is_, shown, value)) else shown
        if isinstance(value, (int, float)) and abs(value) >= _LEAST_CARD:
            return value if self._matched(str(value)) == str(value) else MASK
        return value

    def _object(self, value: dict[object, object]) -> object:
        shown: dict[object, object] = {}
        is_same = True
        for name, item in value.items():
            shown_name = name
            if isinstance(name, str):
                shown_name = self._name(name)
            is_format = name in _OF_FORMATS and isinstance(item, str) and _WORD.fullmatch(item)
            if credentials.is_secret_member(str(name)) and _is_texts(item):
                shown_item: object = MASK
            else:
                shown_item = item if is_format else self._value(item)
            is_same = is_same and shown_name is name and shown_item is item
            shown[shown_name] = shown_item
        return value if is_same else shown

    def _name(self, name: str) -> str:
        if not _WORD.fullmatch(name):
            return self.text(name)
        shown = self._remembered(name)
        return name if shown == name else shown

    def _string(self, text: str) -> str:
        if text[:1] in ("{", "["):  # as arguments of tools are, and many results
            try:
                value = wirejson.decode(text.encode())
                shown = self._value(value)
                text = text if shown is value else wirejson.encode(shown).decode()
            except (wirejson.NotJSON, UnicodeEncodeError):
                pass  # it only begins like JSON
        return self.text(text)


def _mask(found: re.Match[str]) -> str:
    """What was found, with its group masked."""
    if found.re.groups == 0 or found[1] is None:
        return MASK
    start, end = found.start(1) - found.start(), found.end(1) - found.start()
    return found[0][:start] + MASK + found[0][end:]


def _if_card(found: re.Match[str]) -> str:
    digits = [int(sign) for sign in found[0] if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return found[0] if (sum(digits[-1::-2]) + sum(doubled)) % 10 else _mask(found)


def _is_texts(value: object) -> bool:
    """Whether a secret may stand here: a text, or a list of them."""
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    )
